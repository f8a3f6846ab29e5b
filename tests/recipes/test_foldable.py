"""Foldable through a recipe: what it trains, reports and stores; folding back is exact."""

import json
import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.analysis.cost import count_parameters
from speechbrain_recursive.hparams import load
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request, Run
from speechbrain_recursive.nn.schedule import standard, unfold
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.foldable import Foldable
from speechbrain_recursive.objectives.joint import Joint
from speechbrain_recursive.objectives.seq2seq import Seq2Seq

RECIPES = Path(__file__).parents[2] / "recipes"
YAML = """
base: [{common}/mini.yaml, {common}/foldable.yaml]
output_folder: unused
corpus: !new:speechbrain_recursive.data.librispeech.LibriSpeech
    train_splits: [train-clean-100]
    dev_splits: [dev-clean]
    test_splits: [test-clean]
characters: "'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
n_recurrent: !remove
loops: !remove
n_prelude: !remove
n_coda: !remove
n_layers: 3
depth: 6
eval_loops: []
eval_depths: [3, 4, 5, 6]
joint: !new:speechbrain_recursive.objectives.joint.Joint
    weights: {{ctc: 0.7, seq2seq: 0.3}}
    objectives:
        - !new:speechbrain_recursive.objectives.ctc.CTC
        - !new:speechbrain_recursive.objectives.seq2seq.Seq2Seq
ngram: !remove
decoders:
    ngram: !remove
    joint: !remove
lm: !remove
lm_weight: !remove
layer_dropout: !new:speechbrain_recursive.nn.layer_dropout.LayerDropout
    rate: 0.3
"""
SMALL = {"d_model": 16, "nhead": 2, "d_ffn": 32, "tensorboard": False, "number_of_steps": 2}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "foldable_small.yaml"
    path.write_text(YAML.format(common=RECIPES / "common"))
    return path


@pytest.fixture(scope="module")
def folded(recipe, run_recipe, librispeech, tmp_path_factory):
    """A results folder: three layers, unfolded to six."""
    folder = tmp_path_factory.mktemp("folded")
    given = {"data_folder": librispeech, "output_folder": folder, **SMALL}
    words = [str(word) for key, value in given.items() for word in (f"--{key}", value)]
    run_recipe([recipe, *words, "--device", "cpu", "--noprogressbar"])
    return folder


@pytest.mark.parametrize(
    ("layers", "millions", "schedule"),
    [
        (8, 34.0, unfold(8, 12, unfoldable=range(4, 8))),
        (6, 28.8, unfold(6, 12)),
        (4, 23.5, unfold(4, 12)),
    ],
)
def test_the_foldable_conformers_are_those_of_the_paper(layers, millions, schedule):
    path = RECIPES / f"Switchboard/hparams/foldable_{layers}.yaml"
    hparams, _ = load(path, {"data_folder": "x"}, device="meta")
    assert hparams["schedule"] == schedule
    assert list(hparams["eval_depths"]) == list(range(layers, 13, 2))
    total = count_parameters(hparams["model"].parts())["total"]
    assert total / 1e6 == pytest.approx(millions, rel=0.002)
    objective, dropout = hparams["objective"], hparams["layer_dropout"]
    assert (objective.seed_weight, objective.kl_weight) == (0.25, 0.1)
    assert objective.objective.weights == {"ctc": 0.3, "seq2seq": 0.7}
    assert (dropout.rate, dropout.rising, dropout.shared) == (0.1, True, True)


def test_losses_are_logged_by_name(folded):
    log = (folded / "train_log.txt").read_text()
    for stage in ("train", "valid"):
        for name in ("deep_ctc", "deep_seq2seq", "seed_ctc", "seed_seq2seq", "kl"):
            assert re.search(rf"{stage} {name}: [\d.e+-]+", log), name


def test_the_report_marks_both_depths(folded):
    report = json.loads((folded / "report.json").read_text())
    marks = {r["label"]: (r["depth"], r["trained"], r["supervised"]) for r in report["results"]}
    assert marks == {
        "3": (3, False, True),
        "4 (layer0 x2)": (4, False, False),
        "5 (layer0-1 x2)": (5, False, False),
        "6 (layer0-2 x2)": (6, True, True),
    }
    assert report["multiply_adds_per_second"].keys() == marks.keys()
    assert (folded / "wer_vs_depth.png").read_bytes()[1:4] == b"PNG"


def test_paths_are_analyzed_and_taken(folded, trained, librispeech, capsys, tmp_path):
    words = ["analyze", "paths", str(folded), "--depths", "3", "4", "--beside", str(trained)]
    assert main([*words, "--output_folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "paths.json").read_text())
    (model,) = found["models"].values()
    assert [(each["depth"], len(each["paths"])) for each in model["depths"]] == [(3, 1), (4, 3)]
    (beside,) = found["beside"].values()
    assert beside["depth"] == 8
    lines = [line.split("|") for line in printed.splitlines() if line.startswith("|")]
    assert [line[2].strip() for line in lines] == ["depth", "-" * 5, "3", "4", "8"]
    assert printed.strip() in (tmp_path / "paths.md").read_text()
    assert (tmp_path / "paths.png").read_bytes()[1:4] == b"PNG"
    report = json.loads((folded / "report.json").read_text())["results"]
    by_label = {row["label"]: row["wer"] for row in report}
    assert model["depths"][0]["mean"] == by_label["3"]
    assert model["depths"][1]["paths"][0]["wer"] == by_label["4 (layer0 x2)"]

    audio = str(next(librispeech.rglob("*.flac")))
    assert main(["transcribe", str(folded), audio, "--depth", "4"]) == 0
    assert main(["transcribe", str(folded), audio, "--depth", "2"]) == 1
    assert "--depth 2: no path of the schedule" in capsys.readouterr().err


def test_mistakes_are_one_line(folded, capsys):
    for words, said in (
        (["--depths", "2"], "--depths: no path of the schedule (0)x1 | (1)x1 | (2)x1 has depth 2; "),
        (["--split", "gone"], "gone.csv"),
        (["--beside", str(folded)], "is named twice"),
        (["--beside", "gone"], "gone holds no finished run"),
    ):
        assert main(["analyze", "paths", str(folded), *words]) == 1
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


@pytest.fixture(scope="module")
def model(recipe):
    """A model of three layers that unfold to six, and a plain one of the same weights."""
    torch.manual_seed(0)
    given = SMALL | {"data_folder": "data", "dropout": 0.0, "layer_dropout": "null"}
    plain = {"schedule": f"!apply:{standard.__module__}.standard {{n: 3}}"}
    folded, plain = (
        load(
            recipe, [str(word) for pair in (given | more).items() for word in (f"--{pair[0]}", pair[1])]
        )[0]["model"]
        for more in ({}, plain)
    )
    plain.load_state_dict(folded.state_dict())
    return folded, plain


HEADS = Request(["ctc", "seq2seq"])


def run(model, request, depth=None):
    generator = torch.Generator().manual_seed(1)
    signals = torch.randn(3, 8000, generator=generator), torch.tensor([1.0, 0.6, 0.31])
    targets = {"tokens_bos": torch.tensor([[1, 5, 6, 7]]).expand(3, -1)}
    return model(*signals, targets, depth, request)


@pytest.mark.parametrize("training", [False, True])
def test_the_seed_is_the_plain_model_to_the_bit(model, training):
    folded, plain = (each.train(training) for each in model)
    assert plain.schedule == standard(3)
    request = HEADS | Request(runs={"seed": Run(folded.depth(1), HEADS)})
    seed, alone = run(folded, request).runs["seed"], run(plain, HEADS)
    gradients = []
    for one, outputs in ((folded, seed), (plain, alone)):
        one.zero_grad()
        (outputs.log_probs[..., 1].sum() + outputs.decoded[..., 2].sum()).backward()
        gradients.append({name: p.grad for name, p in one.named_parameters()})
    assert torch.equal(seed.log_probs, alone.log_probs)
    assert torch.equal(seed.decoded, alone.decoded)
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_every_path_runs_and_is_another_function(model):
    folded = model[0].eval()
    with torch.no_grad():
        found = [
            run(folded, HEADS, Depth(path)).log_probs
            for depth in range(3, 8)
            for path in unfold(3, 6).paths(depth)
        ]
    assert len(found) == 1 + 3 + 3 + 1 + 3
    assert all(each.isfinite().all() for each in found)
    assert not any(torch.equal(*two) for two in pairwise(found))


def test_self_distillation_trains_the_seed_toward_a_constant(model):
    """Its gradient is what it is when the deep run is made beforehand, without gradient."""
    folded = model[0].train()
    joint = Joint([CTC(), Seq2Seq()], {"ctc": 0.3, "seq2seq": 0.7})
    outputs = run(folded, Foldable(joint).needs(folded.depth()))
    lengths = torch.tensor([1.0, 0.5, 0.5])
    tokens_eos = PaddedData(torch.ones(3, 4, dtype=torch.long), lengths)
    batch = SimpleNamespace(tokens=tokens_eos, tokens_eos=tokens_eos)
    with torch.no_grad():
        constant = run(folded, HEADS)
    gradients = []
    for teacher in (outputs, constant):
        folded.zero_grad()
        kl = joint.divergence(outputs.runs["seed"], teacher, batch)["loss"]
        kl.backward(retain_graph=True)
        gradients.append([p.grad for p in folded.parameters()])
        assert kl > 0
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
