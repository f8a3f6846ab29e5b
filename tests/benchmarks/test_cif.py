"""The benchmark of integrate-and-fire runs, and both of its sides fire the same."""

import importlib
from pathlib import Path

import pytest
import torch


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("cif")


def test_prints_both_ratios(bench, capsys):
    bench.main(["--width", "8", "--batch", "2", "--frames", "6", "--pairs", "6", "--no-memory"])
    _, forward, step = capsys.readouterr().out.splitlines()
    assert forward.startswith("forward: time ratio ")
    assert step.startswith("training_step: time ratio ")


def test_both_sides_fire_the_same(bench):
    torch.manual_seed(1)
    arguments = bench.inputs(8, 3, 40)
    arguments["counts"] = torch.tensor([13, 5, 9])
    ours, theirs = (bench.encoder(8, kind)(**arguments)[0] for kind in ("at_once", "by_frame"))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
