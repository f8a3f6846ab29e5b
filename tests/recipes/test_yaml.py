"""Every recipe's YAML is built at full size, runs at a small one, and has no key that nothing reads."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from speechbrain.core import RunOptions

import speechbrain_recursive.hparams as hparams_module
from speechbrain_recursive.analysis.plots import depth_axis
from speechbrain_recursive.hparams import load, merge
from speechbrain_recursive.merging import dump
from speechbrain_recursive.safety import check_settings

ROOT = Path(__file__).parents[2]
YAMLS = sorted((ROOT / "recipes").glob("*/hparams/*.yaml"))
OPEN = {"output_folder": "results", "data_folder": "data"}  # what a run must be given

METRIC = {"AISHELL-1": "cer"}
TEST_SPLIT = {"LibriSpeech": "test-clean", "AISHELL-1": "test", "CommonVoice-fr": "test"}
TEST_SPLIT |= {"Switchboard": "hub5e_00", "Manifest": "test"}


def named(path):
    return f"{path.parents[1].name}/{path.stem}"


@pytest.fixture
def corpora(librispeech, aishell, common_voice, switchboard, own_data):
    return {
        "LibriSpeech": librispeech,
        "AISHELL-1": aishell,
        "CommonVoice-fr": common_voice,
        "Switchboard": switchboard,
        "Manifest": own_data,
    }


@pytest.fixture
def model(tmp_path):
    """``model(recipe)``: overrides that name the settings that the recipe builds on, if it needs any."""

    def overrides(path):
        if path.stem != "finetune":
            return {}
        (tmp_path / "recipe.yaml").write_text(dump(merge(path.with_name("train.yaml"))))
        return {"warm_start": str(tmp_path)}

    return overrides


@pytest.mark.parametrize("path", YAMLS, ids=named)
def test_it_is_built_at_full_size(path, model, monkeypatch):
    def build(resolved):
        check_settings(resolved, path)  # as the settings of its results folder, it needs no --trust
        return load_hyperpyyaml(resolved)

    monkeypatch.setattr(hparams_module, "load_hyperpyyaml", build)
    hparams, _ = load(path, OPEN | model(path), device="meta")
    parameters = list(hparams["model"].parameters())
    assert parameters
    assert all(parameter.is_meta for parameter in parameters)
    assert set(hparams["modules"]) == {"model"}


@pytest.mark.parametrize("path", YAMLS, ids=named)
def test_seeds_have_folders_of_their_own(path):
    assert merge(path)["output_folder"].value == f"results/{path.stem}/<seed>"


@pytest.mark.parametrize("path", YAMLS, ids=named)
def test_it_trains_and_reports(path, corpora, run_recipe, small, peers, check_published, tmp_path):
    recipe = path.parents[1].name
    given = {"data_folder": corpora[recipe], "output_folder": tmp_path, **small(path)}
    others = peers(path, corpora[recipe])
    given |= others
    tree = merge(path, others)
    words = [
        word for key, value in given.items() for word in (f"--{key}", json.dumps(value, default=str))
    ]
    run_recipe([path, *words, "--device", "cpu", "--noprogressbar"], recipe)

    log = (tmp_path / "train_log.txt").read_text()
    assert "step: 2" in log
    assert "skipped steps: 0" in log
    weights = torch.load(tmp_path / "model.ckpt")
    assert all(value.isfinite().all() for value in weights.values())
    split = TEST_SPLIT[recipe]
    if "eval_loops" in tree:
        subsets = {"Switchboard": ["hub5e_00_ch", "hub5e_00_swb"]}.get(recipe, [])
        check_report(tmp_path, [split, *subsets], METRIC.get(recipe, "wer"), list(tree["decoders"]))
        if "mini" in path.stem or recipe == "Manifest":
            heard = check_published(tmp_path)
            assert any(any(texts.values()) for texts in heard.values())
    else:
        (row,) = json.loads((tmp_path / "report.json").read_text())["results"]
        assert row["split"] == split
        assert 1 < row["perplexity"] < 1000


def check_report(folder, splits, metric, decoders):
    report = json.loads((folder / "report.json").read_text())
    rows = report["results"]
    for row in rows:
        assert row["decoder"] in decoders
        assert row["low"] <= row[metric] <= row["high"]
        assert row["rtf"] > 0
        assert isinstance(row["supervised"], bool)
    (trained,) = {row["label"] for row in rows if row["trained"]}
    found = [(row["split"], row["decoder"]) for row in rows if row["label"] == trained]
    assert sorted(found) == sorted((split, decoder) for split in splits for decoder in decoders)
    assert report["steps"] == 2
    assert report["schedule"]
    assert {"encoder", "total"} <= report["parameters"].keys()
    assert report["multiply_adds_per_second"].keys() == {row["label"] for row in rows}
    for name in ("report.md", f"wer_vs_{depth_axis(rows)}.png"):
        assert (folder / name).stat().st_size > 0


def references(node):
    """Names that the !ref and !copy tags below a node of YAML refer to."""
    if isinstance(node, Mapping):
        return set().union(*map(references, node.values()))
    if isinstance(node, list):
        return set().union(*map(references, node))
    tag = getattr(getattr(node, "tag", None), "value", None)
    return set(re.findall(r"<(\w+)", str(node.value))) if tag in ("!ref", "!copy") else set()


def unread(tree, sources):
    """Keys that no source reads, neither themselves nor through what refers to them."""
    read = set(re.findall(r'hparams(?:\.|\[")(\w+)', sources)) | RunOptions().as_dict().keys() | {"seed"}
    reached, new = set(), read & tree.keys()
    while new:
        reached |= new
        new = set().union(*(references(tree[key]) for key in new)) & tree.keys() - reached
    return tree.keys() - reached


@cache
def sources(script):
    """The package and a script, as one text."""
    files = [*(ROOT / "speechbrain_recursive").rglob("*.py"), script]
    return "\n".join(file.read_text() for file in files)


def layers(path):
    """How many layers of files a recipe stands on, itself included."""
    bases = YAML().load(path).get("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    files = [base for base in bases if isinstance(base, str)]  # not a model that a key names
    return 1 + max((layers((path.parent / base).resolve()) for base in files), default=0)


@pytest.mark.parametrize("path", YAMLS, ids=named)
def test_it_stands_on_a_method_and_a_task(path):
    assert layers(path) <= 3


@pytest.mark.parametrize("path", YAMLS, ids=named)
def test_every_key_is_read(path, model):
    assert unread(merge(path, model(path)), sources(path.parents[1] / "train.py")) == set()


def test_a_key_that_nothing_reads_is_found():
    tree = YAML().load("a: !ref <b>\nb: 1\nc: [!ref <d>]\nd: 1\nseed: 1\n")
    assert unread(tree, "hparams.a") == {"c", "d"}
    assert unread(tree, 'hparams["c"]') == {"a", "b"}
