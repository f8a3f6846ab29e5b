"""``describe`` from the command line: the merged recipe, and how overrides are written."""

import json
from pathlib import Path

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.hparams import load

HPARAMS = Path(__file__).parents[2] / "recipes" / "LibriSpeech" / "hparams"


@pytest.fixture
def describe(capsys):
    """``describe(*words)``: what the command prints."""

    def run(*words):
        assert main(["describe", *map(str, words)]) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", ["mini", "larm_100h", "transformer_lm"])
def test_the_merged_recipe_needs_no_other_file(describe, tmp_path, name):
    path = HPARAMS / f"{name}.yaml"
    text = describe(path, "--yaml", "--lr", "0.5", "--opt_class", "{betas: !remove}")
    assert "\nbase:" not in f"\n{text}"
    (tmp_path / "again.yaml").write_text(text)
    given = {"output_folder": "results", "data_folder": "data"}
    overrides = given | {"lr": 0.5}
    hparams, again = load(tmp_path / "again.yaml", given, device="meta")
    assert "betas" not in again
    assert hparams["opt_class"].keywords["lr"] == 0.5
    text = load(path, overrides, device="meta")[1]
    kept = [line for line in text.splitlines() if "betas" not in line]
    assert again.splitlines() == kept


def test_references_and_placeholders_stay_as_they_are(describe):
    text = describe(HPARAMS / "larm_100h.yaml", "--yaml", "--loops", "8")
    assert "data_folder: !PLACEHOLDER\n" in text
    assert "loops: 8\n" in text
    assert "  lr: !ref <lr>\n" in text
    assert "#" not in text


@pytest.mark.parametrize(
    "words", [["--loops=7"], ["--loops", "2", "--loops", "7"], ["--loops=2", "--loops", "7"]]
)
def test_the_last_override_counts_with_or_without_an_equals_sign(describe, words):
    facts = json.loads(describe(HPARAMS / "mini.yaml", "--json", *words))
    assert facts["schedule"] == "0 | (1-2)x7 | 3"


def test_mistakes_are_one_line(capsys):
    assert main(["describe", str(HPARAMS / "mini.yaml"), "--yaml", "--lop", "1"]) == 1
    error = capsys.readouterr().err
    assert "no key 'lop' to override; did you mean --loops?" in error
    assert error.count("\n") == 1
