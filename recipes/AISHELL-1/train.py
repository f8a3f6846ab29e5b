#!/usr/bin/env python3
"""Recipe for recursive speech recognition on AISHELL-1.

> python train.py hparams/mini.yaml
> python train.py hparams/depth_l4.yaml --data_folder /path/to/corpus
"""

from speechbrain_recursive.data.aishell import Aishell1
from speechbrain_recursive.training.run import run

if __name__ == "__main__":
    run(Aishell1)
