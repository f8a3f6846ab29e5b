"""The benchmark of exported models runs, and all of its engines compute the same."""

import importlib
from pathlib import Path

import numpy as np
import pytest

MINI = Path(__file__).parents[2] / "recipes/LibriSpeech/hparams/mini.yaml"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("export")


def test_all_engines_compute_the_same(bench, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(f"base: {MINI}\nd_model: 16\nnhead: 2\nd_ffn: 32\n")
    sizes = bench.write(recipe, tmp_path)
    assert sizes.keys() == {"fp32", "fp16", "int8", "sherpa", "first", "loop", "last"}
    common = recipe, tmp_path, 1, 0.5, 3
    expected = bench.engine("torch", *common)()
    for kind in ("fp32", "fp16", "int8", "parts"):
        found = np.asarray(bench.engine(kind, *common)()).reshape(expected.shape)
        assert np.abs(found - expected).max() < (0.2 if kind == "int8" else 5e-3), kind
    pytest.importorskip("sherpa_onnx")
    assert isinstance(bench.engine("sherpa", *common)(), str)
