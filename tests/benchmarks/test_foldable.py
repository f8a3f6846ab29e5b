"""The benchmark of Foldable runs, and its sides apply as many layers as they say."""

import importlib
from pathlib import Path

import pytest

from speechbrain_recursive.nn.schedule import standard, unfold


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("foldable")


def test_prints_both_ratios(bench, capsys, monkeypatch):
    small = {"foldable": unfold(1, 2), "plain": standard(2), "deepest": unfold(1, 2)}
    monkeypatch.setattr(bench, "SCHEDULES", small)
    monkeypatch.setattr(bench, "DECODER", 1)
    bench.main(["--width", "8", "--batch", "1", "--frames", "8", "--pairs", "6", "--no-memory"])
    head, foldable, deepest = capsys.readouterr().out.splitlines()
    assert "(0)x2 beside 2 layers" in head
    assert foldable.startswith("foldable: time ratio ")
    assert deepest.startswith("deepest: time ratio ")


@pytest.mark.parametrize(
    ("kind", "layers", "runs"), [("foldable", 6, 18), ("plain", 12, 12), ("deepest", 6, 12)]
)
def test_layers_of_a_step(bench, monkeypatch, kind, layers, runs):
    built, build = [], bench.build

    def watched(width, kind):
        model, objective = build(width, kind)
        assert len(model.encoder.layers) == layers
        for layer in model.encoder.layers:
            layer.register_forward_hook(lambda *_: built.append(1))
        return model, objective

    monkeypatch.setattr(bench, "build", watched)
    bench.training_step(8, 1, 12, kind)()
    assert len(built) == runs
