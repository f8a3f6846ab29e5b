#!/usr/bin/env python3
"""Recipe for recursive speech recognition on AISHELL-1.

> python train.py hparams/mini.yaml
> python train.py hparams/depth_l4.yaml --data_folder /path/to/corpus
"""

from speechbrain_recursive.data.aishell import prepare_aishell
from speechbrain_recursive.data.download import download_aishell
from speechbrain_recursive.data.synthetic import make_aishell
from speechbrain_recursive.training.run import run


def prepare(hparams, data_folder, save_folder):
    """Manifests of the splits that the recipe names, after a download if it was asked for."""
    if hparams["download"]:
        download_aishell(data_folder)
    splits = {key: hparams[key] for key in ("train_splits", "dev_splits", "test_splits")}
    return prepare_aishell(data_folder, save_folder, bad_test_audio=hparams["bad_test_audio"], **splits)


if __name__ == "__main__":
    run(prepare, make_aishell)
