"""An exported graph computes what the model computes, at any depth and length."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from speechbrain_recursive.analysis.cost import count_parameters
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.export.graph import node_lists
from speechbrain_recursive.export.model import to_onnx, without_offset
from speechbrain_recursive.export.precision import PRECISIONS
from speechbrain_recursive.hparams import load
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.halting import Halting
from speechbrain_recursive.nn.schedule import latent

RECIPES = Path(__file__).parents[2] / "recipes"
KINDS = {  # of layers, hooks, front-ends and schedules
    "latent": "LibriSpeech/hparams/mini.yaml",
    "absolute positions": "LibriSpeech/hparams/depth_l2.yaml",
    "branchformer": "LibriSpeech/hparams/depth_l5.yaml",
    "LARM": "LibriSpeech/hparams/larm_mini.yaml",
    "bicycle": "LibriSpeech/hparams/bicycle_mini_2_2.yaml",
    "zero tokens": "LibriSpeech/hparams/bicycle_mini_zero_token.yaml",
    "LoRA": "LibriSpeech/hparams/bicycle_mini_relaxed.yaml",
    "foldable": "Switchboard/hparams/foldable_mini.yaml",
    "foldable HuBERT": "LibriSpeech/hparams/foldable_hubert_mini.yaml",
    "pooled, of one depth": "AISHELL-1/hparams/cif_mini.yaml",
}


@pytest.fixture(scope="module")
def build(small):
    """``build(kind)``: a small model with random weights, the zeros of hooks included."""
    built = {}

    def model(kind):
        if kind not in built:
            path = RECIPES / KINDS[kind]
            given = {"data_folder": "data", "output_folder": "results", **small(path)}
            model = load(path, given)[0]["model"].eval()
            torch.manual_seed(0)
            for name, parameter in model.named_parameters():
                if "norm" not in name and (parameter.dim() != 1 or not parameter.any()):
                    torch.nn.init.normal_(parameter, std=0.2)
            built[kind] = model
        return built[kind]

    return model


@pytest.fixture(scope="module")
def exported(build):
    """``exported(kind)``: the model and its graph."""
    graphs = {}

    def model(kind):
        if kind not in graphs:
            graphs[kind] = to_onnx(build(kind))
        return build(kind), graphs[kind]

    return model


def session(graph):
    return onnxruntime.InferenceSession(graph.SerializeToString())


def run(session, wav, depth=None):
    counts = [] if depth is None else [*depth.schedule.loops.values()]
    feeds = {"loops": np.array(counts, dtype=np.int64)} if counts else {}
    return torch.from_numpy(session.run(None, {"wav": wav.numpy(), **feeds})[0])


@torch.no_grad()
def expected(model, wav, depth):
    return model(wav, torch.ones(1), depth=depth).log_probs


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_is_the_model_at_every_depth_and_length(exported, kind):
    model, graph = exported(kind)
    found, trained = session(graph), model.depth().schedule.loops
    counts = [trained]
    if trained:
        counts += [dict.fromkeys(trained, n) for n in (1, 2, max(trained.values()) + 2)]
    for seconds in (0.01, 0.9, 2.3):  # another length than the one that was traced
        samples = max(int(seconds * model.sample_rate), model.embed.least_samples)
        wav, seen = 0.1 * torch.randn(1, samples), []
        for each in counts:
            depth = Depth.of(model.schedule, each)
            seen.append(expected(model, wav, depth))
            torch.testing.assert_close(run(found, wav, depth), seen[-1], atol=1e-3, rtol=0)
    if trained:
        assert (seen[1] - seen[-1]).abs().max() > 0.02


def test_blocks_have_counts_of_their_own(exported):
    model, graph = exported("foldable")
    found, wav = session(graph), 0.1 * torch.randn(1, 8000)
    paths = [Depth(path) for path in model.schedule.paths(8)]
    assert len(paths) == 15
    seen = [expected(model, wav, path) for path in paths]
    for path, log_probs in zip(paths, seen, strict=True):
        torch.testing.assert_close(run(found, wav, path), log_probs, atol=1e-3, rtol=0)
    assert (seen[0] - seen[-1]).abs().max() > 0.02


def test_layers_are_stored_once_and_run_in_a_loop(exported):
    model, graph = exported("latent")
    stored = sorted(
        np.prod(w.dims) for w in graph.graph.initializer if "." in w.name and len(w.dims) > 1
    )
    assert stored == sorted(
        p.numel() for n, p in model.named_parameters() if p.dim() > 1 and "seq2" not in n
    )
    nodes = [node for inner in node_lists(graph.graph.node) for node in inner]
    assert [node.op_type for node in nodes].count("Loop") == 1
    names = {weight.name for weight in graph.graph.initializer}
    assert not any(node.op_type == "Transpose" and node.input[0] in names for node in nodes)


def test_a_fixed_depth(build):
    model = build("LARM")
    depth = model.depth(4)
    graph = to_onnx(model, depth, normalized=True)
    assert [each.name for each in graph.graph.input] == ["wav"]
    wav = torch.randn(1, 16000) + 0.3
    got = run(session(graph), wav)
    offset_free = without_offset(wav, 16000)
    torch.testing.assert_close(got, expected(model, offset_free, depth), atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="is not one depth of"):
        to_onnx(model, Depth.of(model.schedule, [1, 2]))
    with pytest.raises(ValueError, match="is not one depth of"):
        to_onnx(model, Depth(latent(1, 2, 1, 1)))


def test_an_adaptive_exit_is_refused(build):
    model = build("latent")
    model.encoder.add_hook("recurrent", Halting("cosine", 0.5))
    with pytest.raises(UserError, match="'recurrent' has an adaptive exit, which cannot be exported"):
        to_onnx(model)
    del model.encoder.hooks["recurrent"]


@pytest.mark.parametrize("seconds", [0.01, 0.5])
def test_without_offset_takes_the_quietest_25_ms(seconds):
    rng = np.random.default_rng(1)
    samples = int(16000 * seconds)
    wav = rng.random(samples + 800).astype(np.float32)  # with a mean of 0.5
    wav[100:700] = 1e-4 * rng.standard_normal(600)
    moved = torch.from_numpy(3 * (wav - wav.mean()))[None]
    assert (without_offset(moved, 16000) - 3 * torch.from_numpy(wav)).abs().max() < 1e-3


def test_the_file_is_as_large_as_its_weights():
    path = RECIPES / "LibriSpeech/hparams/larm_100h.yaml"
    model = load(path, {"data_folder": "data", "output_folder": "results"})[0]["model"].eval()
    count = count_parameters(model.parts())["total"]
    for parameter in model.parameters():  # equal weights would be stored once
        parameter.data += 0.01 * torch.randn_like(parameter)
    graph = to_onnx(model).SerializeToString()
    wav, depth = 0.1 * torch.randn(1, 16000), model.depth(2)
    for precision, size in (("fp32", 4), ("fp16", 2), ("int8", 1)):
        made = PRECISIONS[precision](onnx.load_from_string(graph))
        assert count * size < len(made.SerializeToString()) <= 1.05 * count * size, precision
        got = run(session(made), wav, depth)
        difference = (got - expected(model, wav, depth)).abs().max()
        assert 0 < difference < {"fp32": 1e-3, "fp16": 0.02, "int8": 0.5}[precision]


@pytest.mark.parametrize("kind", ["latent", "absolute positions", "LARM", "foldable", "bicycle"])
def test_int8_leaves_no_matrix_in_single_precision(exported, kind):
    model, graph = exported(kind)
    made = PRECISIONS["int8"](onnx.load_from_string(graph.SerializeToString()))
    left = [w.name for w in made.graph.initializer if w.data_type == onnx.TensorProto.FLOAT]
    sizes = {name: value.numel() for name, value in model.state_dict().items() if value.dim() > 1}
    assert not [name for name in left if sizes.get(name, 0) > 512]
    wav = 0.1 * torch.randn(1, model.sample_rate)
    assert run(session(made), wav, model.depth()).shape == expected(model, wav, model.depth()).shape
