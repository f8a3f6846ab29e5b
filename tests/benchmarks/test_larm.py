"""The benchmark of rotary blocks runs, and sets as many block passes beside each other."""

import importlib
from pathlib import Path

import pytest
import torch


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("larm")


@pytest.mark.parametrize("compiled", [False, True])
def test_prints_both_ratios(bench, capsys, compiled):
    options = ["--width", "16", "--batch", "2", "--frames", "4", "--pairs", "6", "--no-memory"]
    with torch.compiler.set_stance("force_eager"):  # no minutes of compiling
        bench.main([*options, "--compile", "--bf16"] if compiled else options)
    head, forward, step = capsys.readouterr().out.splitlines()
    assert "(0-3)x3 beside 12 stock layers" in head
    assert ("compiled, bf16" if compiled else "eager, fp32") in head
    assert forward.startswith("forward: time ratio ")
    assert step.startswith("training_step: time ratio ")


@pytest.mark.parametrize("kind", ["stock", "larm"])
def test_both_sides_run_12_padded_blocks(bench, kind):
    model = bench.encoder(16, 0.0, False, kind).eval()
    assert len(model.layers) == (12 if kind == "stock" else 4)
    runs = []
    for layer in model.layers:
        layer.register_forward_hook(lambda *_: runs.append(1))
    given = bench.inputs(16, 2, 8)
    assert given["src_key_padding_mask"].sum(1).tolist() == [0, 4]
    output = model(**given)[0]
    assert len(runs) == 12
    other = given["src"] + given["src_key_padding_mask"][..., None]
    torch.testing.assert_close(model(**given | {"src": other})[0][1, :4], output[1, :4])


def test_compiled_is_compiled_on_both_sides(bench):
    for kind in ("stock", "larm"):
        compiled = [
            [
                layer._compiled_call_impl is not None
                for layer in bench.encoder(16, 0.0, wanted, kind).layers
            ]
            for wanted in (False, True)
        ]
        assert not any(compiled[0])
        assert all(compiled[1])
