"""The benchmark of streaming runs, and our encoder computes what the stock one does."""

import importlib
from pathlib import Path

import pytest
import torch
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.nn.schedule import standard


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("streaming")


def test_prints_latency_and_ratios(bench, capsys, monkeypatch, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(f"base: {bench.RECIPE}\nd_model: 16\nnhead: 2\nd_ffn: 32\nnum_decoder_layers: 1\n")
    monkeypatch.setattr(bench, "RECIPE", recipe)
    bench.main(["--seconds", "0.4", "--pairs", "6", "--width", "16"])
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("chunks of 8 frames, 1 loops: algorithmic latency 35")
    assert last.startswith("encoder of depth 16 beside SpeechBrain's of 16 layers: ")


def test_both_encoders_are_of_one_depth(bench):
    ours, theirs = bench.encoders(16, standard(3))
    theirs.load_state_dict(ours.state_dict(), strict=False)
    x, config = torch.randn(1, 40, 16), DynChunkTrainConfig(8, 2)
    outputs = []
    for encoder in (ours, theirs):
        seen = []
        keep = encoder.norm.register_forward_hook(lambda *call, seen=seen: seen.append(call[2]))
        bench.by_chunks(encoder, x, config)
        keep.remove()
        outputs.append(torch.cat(seen, 1))
    assert torch.equal(*outputs)
