"""Train a toy Brain in forked processes that are killed and resumed; see test_kill_and_resume.py.

Run as `python toy_run.py FOLDER`. One process imports everything and forks each run, so that a
SIGKILL costs no second import. Final weights go to FOLDER/<run>/final.pt.
"""

import logging
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
import torch._dynamo  # a second's work that every optimizer does: before the fork, not after it
from speechbrain.utils.epoch_loop import EpochCounter

from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.rng import RandomState

EPOCHS, BATCHES, ACCUMULATION = 3, 11, 2


class Death:
    """Kills its own process at the n-th event of a kind; as a recoverable, amid a save."""

    def __init__(self, kind=None, at=0):
        self.kind, self.left = kind, at

    def event(self, kind):
        if kind == self.kind:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def save(self, path):
        with open(path, "w") as stream:
            stream.write("half of a")
            stream.flush()
            self.event("save")

    def load(self, path, end_of_epoch):
        assert path.read_text() == "half of a"


class Noisy(torch.utils.data.Dataset):
    """Items that draw from all three global generators, as augmentation does."""

    def __len__(self):
        return 4 * BATCHES

    def __getitem__(self, index):
        x = torch.full((6,), index / len(self)) + 0.1 * torch.randn(6)
        return x * random.uniform(0.9, 1.1) + float(np.random.normal(0, 0.1))


class Toy(sb.Brain):
    def make_dataloader(self, dataset, stage, **loader_kwargs):
        # without a generator of its own, a loader moves the global one once more in a resumed run
        loader_kwargs["generator"] = torch.Generator()
        return super().make_dataloader(dataset, stage, **loader_kwargs)

    def compute_forward(self, batch, stage):
        return self.modules.model(batch)

    def compute_objectives(self, outputs, batch, stage):
        return (outputs - batch.sum(1, keepdim=True).sin()).square().mean()

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        if should_step:
            self.hparams.scheduler.step()
        self.hparams.death.event("batch")

    def _should_save_intra_epoch_ckpt(self, *args):
        boundary = self.step % self.grad_accumulation_factor == 0
        return super()._should_save_intra_epoch_ckpt(*args) and boundary

    def init_optimizers(self):
        super().init_optimizers()
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 20)
        self.hparams.scheduler = scheduler
        self.checkpointer.add_recoverable("scheduler", scheduler)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        self.hparams.death.event(stage.name.lower())
        if stage == sb.Stage.VALID:
            self.checkpointer.save_and_keep_best({"wer": stage_loss}, min_key="wer", keep=2)


def train(folder, death, with_rng=True):
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 16),
        torch.nn.BatchNorm1d(16),
        torch.nn.Dropout(0.3),
        torch.nn.GELU(),
        torch.nn.Linear(16, 1),
    )
    counter = EpochCounter(EPOCHS)
    checkpointer = AtomicCheckpointer(folder / "save", {"counter": counter, "model": model})
    checkpointer.add_recoverable("death", death, Death.load, Death.save)
    if with_rng:
        checkpointer.add_recoverable("rng", RandomState())
    brain = Toy(
        {"model": model},
        lambda parameters: torch.optim.AdamW(parameters, 1e-2),
        {"death": death},
        {
            "device": "cpu",
            "noprogressbar": True,
            "grad_accumulation_factor": ACCUMULATION,
            "ckpt_interval_minutes": 0,
            "ckpt_interval_steps": 3,
        },
        checkpointer,
    )
    brain.fit(counter, Noisy(), Noisy(), train_loader_kwargs={"batch_size": 4, "shuffle": True})
    torch.save({"model": model.state_dict(), "step": brain.optimizer_step}, folder / "final.pt")


def fork(folder, death=None, kill_after=None, with_rng=True):
    """Run in a child, kill it after `kill_after` seconds if given; say whether it was killed."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        try:
            train(folder, death or Death(), with_rng)
        except BaseException:
            logging.exception("the run failed")
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def main(folder):
    logging.disable(logging.INFO)
    draw = random.Random(7)
    start = time.perf_counter()
    assert not fork(folder / "whole")
    duration = time.perf_counter() - start

    killed = folder / "killed"
    assert fork(killed, Death("batch", draw.randrange(4, BATCHES)))
    assert fork(killed, Death("save", draw.randrange(2, 4)))
    assert list((killed / "save").glob(".partial-*"))
    assert fork(killed, Death("valid", 1))
    fork(killed, kill_after=draw.uniform(0.1, 0.5) * duration)
    assert not fork(killed)

    forgetful = folder / "forgetful"
    assert fork(forgetful, Death("batch", 7), with_rng=False)
    assert not fork(forgetful, with_rng=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
