"""Adapters: which layers have one, and what they refuse."""

import pytest
import torch

from speechbrain_recursive.nn.adapters import (
    BranchformerAdapter,
    ConformerAdapter,
    TransformerAdapter,
    adapter_for,
)
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.larm import RopeAdapter
from speechbrain_recursive.nn.schedule import cycle
from speechbrain_recursive.nn.state import State


@pytest.mark.parametrize(
    ("family", "adapter"),
    [
        ("transformer", TransformerAdapter),
        ("conformer", ConformerAdapter),
        ("branchformer", BranchformerAdapter),
        ("rope", RopeAdapter),
    ],
)
def test_every_family_has_its_own(stock, family, adapter):
    assert type(adapter_for(stock(1, family))) is adapter
    assert type(RecursiveEncoder(stock(1, family), cycle(1, 2)).adapter) is adapter


def test_an_unknown_family():
    with pytest.raises(TypeError, match="Linear"):
        adapter_for(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("family", ["transformer", "branchformer", "rope"])
def test_chunks_where_layers_know_none(stock, batch, family):
    state = State(batch(), extra={"dynchunktrain_config": object()})
    with pytest.raises(ValueError, match="these layers have no dynamic chunks; use a Conformer"):
        adapter_for(stock(1, family)).enter(state)


def test_refuses_to_compile_what_outdates_each_compilation(stock):
    with pytest.raises(ValueError, match="compile_layers: SpeechBrain's RoPEMHA"):
        RecursiveEncoder(stock(2, attention="RoPEMHA"), cycle(2, 2)).compile_layers()


@pytest.mark.parametrize("family", ["transformer", "conformer", "branchformer", "rope"])
def test_guards_add_nothing_to_the_state_dict(stock, family):
    bank = stock(2, family)
    before = list(bank.state_dict())
    assert list(RecursiveEncoder(bank, cycle(2, 2)).state_dict()) == before
