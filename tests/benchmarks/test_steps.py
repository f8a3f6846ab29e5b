"""What the encoder benchmarks time."""

import importlib
from pathlib import Path

import pytest
import torch


@pytest.fixture
def steps(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("steps")


class Model(torch.nn.Module):
    """One linear map, which notes its inputs' frames, its mode and the type of its output."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
        self.calls = []

    def forward(self, src):
        output = self.linear(src)
        self.calls.append((src.shape[1], self.training, torch.is_grad_enabled(), output.dtype))
        return output, []


def inputs(batch, frames):
    return {"src": torch.ones(batch, frames, 8)}


@pytest.mark.parametrize("bf16", [False, True])
def test_a_step_trains(steps, bf16):
    model = Model()
    step = steps.training_step(lambda kind: model, inputs, "one", 2, 40, bf16)
    dtype = torch.bfloat16 if bf16 else torch.float32
    assert model.calls == [(4, True, True, dtype)]
    assert model.linear.weight.grad is None
    before = model.linear.weight.clone()
    step()
    assert model.calls[1:] == [(40, True, True, dtype)]
    assert not torch.equal(model.linear.weight, before)


def test_forward_is_without_gradient_and_dropout(steps):
    model = Model()
    encode = steps.forward(lambda kind: model, inputs, "one", 2, 40)
    assert encode().shape == (2, 40, 8)
    assert model.calls == [(40, False, False, torch.float32)]
