"""Train by the recipe in one process and in two; see test_distributed.py.

Run as `python ddp_recipe.py CORPUS FOLDER`. One process imports everything and forks each run. Results
go to FOLDER/<settings>/one, with gradients accumulated over two batches, and to FOLDER/<settings>/two,
where each of two processes has one of these batches.
"""

import logging
import os
import runpy
import socket
import sys
from pathlib import Path

import torch
import torch._dynamo  # a second's work that every optimizer does: before the fork, not after it

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
import test_new_method

from speechbrain_recursive.training.augment import UtteranceSpeeds

RECIPE = Path(__file__).parents[2] / "recipes/LibriSpeech"
# Adam would make much of rounding errors, and a warm-up steps that are too small to tell
SGD = """opt_class: !name:torch.optim.SGD
    lr: !ref <lr>
lr_scheduler: !new:speechbrain_recursive.training.schedulers.WarmupCosine
    lr_initial: !ref <lr>
    n_warmup_steps: 1
    total_steps: 100
"""
NARROW = {"lr": 0.1, "tensorboard": False}
RUN = {"number_of_steps": 3, "num_workers": 0, "max_grad_norm": 0.5, "device": "cpu"}
SPEECH = {
    "d_model": 16,
    "nhead": 2,
    "d_ffn": 32,
    "dropout": 0.0,
    "max_batch_seconds": 8,
    "eval_loops": "[3]",
    "decoders": "{joint: {beam_size: 2}}",
    "fea_augment": "null",
}
TEXT = {
    "tokenizer": '{characters: "\'ABCDEFGHIJKLMNOPQRSTUVWXYZ", size: null}',
    "model": "{num_encoder_layers: 2, d_model: 16, nhead: 2, d_ffn: 32}",
    "max_batch_tokens": 100,
    "corpus": "{train_splits: [train-clean-100], test_splits: [test-clean]}",
}
DRAWN = """recompute: True
loop_policy: !new:speechbrain_recursive.nn.loops.LogNormalPoisson
    seed: !ref <seed>
"""
SPEEDS = """speed_perturb: !new:ddp_recipe.Recorded
    orig_freq: 16000
    speeds: [80, 85, 90, 95, 100, 105, 110, 115, 120]
"""
SETTINGS = {
    "plain": ("mini.yaml", SGD, SPEECH),
    "drawn": ("mini.yaml", SGD + DRAWN, SPEECH),
    "speeds": ("mini.yaml", SGD + SPEEDS, SPEECH),
    "lm": ("transformer_lm.yaml", SGD, TEXT),
    # first a loss on taps alone, whose objective has a projection, then CTC
    "stages": (None, SGD, {"lr": 0.01, "number_of_steps": 7, "fea_augment": "null", "dropout": 0.0}),
}


class Recorded(UtteranceSpeeds):
    """Writes down by how much each utterance was stretched."""

    def forward(self, wavs, lengths):
        slower, left = super().forward(wavs, lengths)
        factors = left * slower.shape[1] / (lengths * wavs.shape[1])
        with open(f"{os.environ['DRAWS']}-{os.environ.get('RANK', '')}", "a") as lines:
            lines.write("".join(f"{100 / factor:.0f}\n" for factor in factors.tolist()))
        return slower, left


def train(corpus, folder, settings, accumulation, rank=None, port=None):
    """One process of one run."""
    base, text, options = SETTINGS[settings]
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DRAWS"] = str(folder / "draws")
    recipe = folder.parent / f"{settings}.yaml"
    toy = folder.parent / "toy.yaml"
    toy.write_text(test_new_method.YAML)
    recipe.write_text(f"base: {RECIPE / 'hparams' / base if base else toy}\n{text}")
    options = {
        **NARROW,
        **RUN,
        **options,
        "data_folder": corpus,
        "output_folder": folder,
        "grad_accumulation_factor": accumulation,
        "distributed_backend": "gloo",
    }
    if rank is not None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    sys.argv = ["train.py", str(recipe), *words, "--noprogressbar"]
    runpy.run_path(str(RECIPE / "train.py"), run_name="__main__")


def fork(*args, **options):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        train(*args, **options)
        status = 0
    except BaseException:
        logging.exception("process %s failed", options.get("rank"))
    finally:
        os._exit(status)


def main(corpus, folder):
    torch.set_num_threads(1)
    for settings in SETTINGS:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        runs = [fork(corpus, folder / settings / "one", settings, accumulation=2)]
        assert os.waitpid(runs[0], 0)[1] == 0
        where = folder / settings / "two"
        runs = [fork(corpus, where, settings, accumulation=1, rank=rank, port=port) for rank in (0, 1)]
        assert [os.waitpid(run, 0)[1] for run in runs] == [0, 0]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
