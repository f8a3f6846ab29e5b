#!/usr/bin/env python3
"""Recipe for recursive speech recognition on your own recordings.

> python train.py hparams/train.yaml --data_folder /path/to/data
> python train.py hparams/finetune.yaml --warm_start results/train/1234 --data_folder /path/to/data
"""

from speechbrain_recursive.data.own_data import OwnData
from speechbrain_recursive.training.run import run

if __name__ == "__main__":
    run(OwnData)
