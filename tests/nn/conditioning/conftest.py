"""Encoders with a readout, for hooks on their blocks."""

import pytest
import torch

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import bicycle, latent
from speechbrain_recursive.nn.state import State

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
        state = State(x, pad=pad, pos=pos, readout=self.readout)
        depth = Depth.of(self.encoder.schedule, loops)
        return self.readout(self.encoder.run(state, depth).state.x)

    def readout(self, x):
        return self.head(self.encoder.norm(x))


@pytest.fixture
def reader(stock):
    """``reader(family, schedule, make_hooks, ...)``: each block that recurs has new hooks."""

    def build(family, schedule, make_hooks, **options):
        schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
        return Reader(stock(schedule.n_layers, family), schedule, make_hooks, **options)

    return build


@pytest.fixture
def batch():
    """Hidden states [3, 7, 16]."""
    return torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(0))
