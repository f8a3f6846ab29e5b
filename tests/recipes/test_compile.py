"""``compile_layers`` in a whole run, and on a machine that has no compiler."""

import json
from functools import partial

import pytest
import torch

from speechbrain_recursive.analysis.cost import multiply_adds_per_second, training_step_activation_bytes
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.nn.encoder import RecursiveEncoder

COMPILED = {"compile_layers": True, "attention_type": "regularMHA"}


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def run(mini, tmp_path):
    """``run(**options)``: the mini recipe with compiled layers; returns the folder."""

    def run(**options):
        given = COMPILED | options
        return mini(tmp_path / "run", *(word for pair in given.items() for word in pair))

    return run


def test_a_run_compiles_and_counts(run, monkeypatch):
    """All loops and layers share graphs, and what was trained is used uncompiled."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    folder = run(recompute=True, eval_loops="[2, 3, 5]")
    assert 2 <= len(graphs) <= 4  # with gradient and without, of one row and of more
    compiled = len(graphs)
    torch.compiler.reset()
    model, _ = load_trained(folder)
    counts = multiply_adds_per_second(model), training_step_activation_bytes(model.train())
    assert len(graphs) == compiled
    model.compile_layers()
    assert counts == (multiply_adds_per_second(model), training_step_activation_bytes(model))
    report = json.loads((folder / "report.json").read_text())
    assert report["multiply_adds_per_second"]["3"] == counts[0]


def test_nothing_is_compiled_unasked(run, monkeypatch):
    """SpeechBrain calls ``Brain._compile`` in every run."""
    monkeypatch.delattr(RecursiveEncoder, "compile_layers")
    run(compile_layers=False)


def test_without_a_compiler_one_line_says_so(run):
    none = torch._inductor.config.patch(
        {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    )
    with none, pytest.raises(SystemExit) as caught:
        run()
    said = caught.value.code
    assert said.startswith("error: compile_layers: ")
    assert "No working C++ compiler" in said
    assert said.endswith("; False runs without compiling")
    assert "\n" not in said


def test_modules_to_compile_without_compile(run):
    """SpeechBrain passes over them in silence."""
    with pytest.raises(SystemExit) as caught:
        run(compile_module_keys="model")
    assert "--compile_module_keys does nothing without --compile" in caught.value.code


def test_layers_that_cannot_be_compiled(run):
    with pytest.raises(SystemExit) as caught:
        run(attention_type="RoPEMHA")
    assert "compile_layers: SpeechBrain's RoPEMHA" in caught.value.code
