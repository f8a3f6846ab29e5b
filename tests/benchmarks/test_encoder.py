"""The encoder benchmark runs, and sets encoders of one depth beside each other."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("encoder")


def test_prints_both_ratios(bench, capsys):
    bench.main(["--width", "16", "--batch", "1", "--frames", "4", "--pairs", "6", "--no-memory"])
    head, forward, step = capsys.readouterr().out.splitlines()
    assert "0-1 | (2-5)x5 | 6-7 beside 24 stock layers" in head
    assert forward.startswith("forward: time ratio ")
    assert step.startswith("training_step: time ratio ")


@pytest.mark.parametrize("attention", ["regularMHA", "RelPosMHAXL"])
def test_both_sides_run_24_layers(bench, attention):
    for kind in ("stock", "recursive", "recomputed"):
        model = bench.encoder(16, attention, kind)
        assert len(model.layers) == (24 if kind == "stock" else 8)
        runs = []
        for layer in model.layers:
            layer.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        model(**bench.inputs(16, attention, 1, 4))
        assert len(runs) == 24
