#!/usr/bin/env python3
"""Recipe for recursive speech recognition on Common Voice French.

> python train.py hparams/mini.yaml
> python train.py hparams/mini.yaml --data_folder /path/to/corpus
"""

from speechbrain_recursive.data.common_voice import CommonVoice
from speechbrain_recursive.training.run import run

if __name__ == "__main__":
    run(CommonVoice)
