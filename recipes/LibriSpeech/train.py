#!/usr/bin/env python3
"""Recipe for recursive speech recognition on LibriSpeech.

> python train.py hparams/mini.yaml
> python train.py hparams/transformer_latent.yaml --data_folder /path/to/LibriSpeech
"""

from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.training.run import run

if __name__ == "__main__":
    run(LibriSpeech)
