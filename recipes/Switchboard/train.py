#!/usr/bin/env python3
"""Recipe for recursive speech recognition on Switchboard.

> python train.py hparams/mini.yaml
> python train.py hparams/conformer_12.yaml --data_folder /path/to/corpus
"""

from speechbrain_recursive.data.switchboard import Switchboard
from speechbrain_recursive.training.run import run

if __name__ == "__main__":
    run(Switchboard)
