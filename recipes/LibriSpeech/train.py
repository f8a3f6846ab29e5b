#!/usr/bin/env python3
"""Recipe for recursive speech recognition on LibriSpeech.

> python train.py hparams/mini.yaml
> python train.py hparams/transformer_latent.yaml --data_folder /path/to/LibriSpeech
"""

from speechbrain_recursive.data.download import download_librispeech, download_ngram
from speechbrain_recursive.data.librispeech import prepare_librispeech
from speechbrain_recursive.data.synthetic import make_librispeech
from speechbrain_recursive.training.run import run


def prepare(hparams, data_folder, save_folder):
    """Manifests of the splits that the recipe names, after a download if it was asked for."""
    splits = {key: hparams[key] for key in ("train_splits", "dev_splits", "test_splits")}
    if hparams["download"]:
        download_librispeech(data_folder, [name for some in splits.values() for name in some])
    return prepare_librispeech(
        data_folder, save_folder, bad_test_audio=hparams["bad_test_audio"], **splits
    )


if __name__ == "__main__":
    run(prepare, make_librispeech, download_ngram=download_ngram)
