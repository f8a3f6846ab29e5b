"""Encoders with a readout, whose blocks a hook can be hung on."""

from dataclasses import replace

import pytest
import torch

from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.larm import RopeEncoder
from speechbrain_recursive.nn.schedule import bicycle, latent

N_TOKENS = 5
SCHEDULES = {"latent": latent(1, 4, 1, 1), "bicycle": bicycle(2, 2, 3, 4)}


class Reader(torch.nn.Module):
    """An encoder and a CTC head that reads its state, as an ASR model has them."""

    def __init__(self, stock, schedule, make_hooks, **options):
        super().__init__()
        hooks = {block: make_hooks() for block in schedule.loops}
        self.encoder = RecursiveEncoder(stock, schedule, hooks, **options)
        torch.manual_seed(1)
        self.head = torch.nn.Linear(16, N_TOKENS)

    def forward(self, x, pad=None, loops=None, pos=None):
        state = self.encoder.family.prepare(x, src_key_padding_mask=pad, pos_embs=pos)
        state = replace(state, readout=self.readout)
        return self.readout(self.encoder.run(state, loops=loops).state.x)

    def readout(self, x):
        return self.head(self.encoder.norm(x))


@pytest.fixture
def reader(stock):
    """``reader(family, schedule, make_hooks, ...)``: its blocks that recur have new hooks each."""

    def build(family, schedule, make_hooks, **options):
        schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
        if family == "rope":
            torch.manual_seed(0)
            bank = RopeEncoder(schedule.n_layers, 16, 2, 32)
        else:
            bank = stock(schedule.n_layers, family)
        return Reader(bank, schedule, make_hooks, **options)

    return build


@pytest.fixture
def batch():
    """Hidden states [3, 7, 16]."""
    return torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(0))
