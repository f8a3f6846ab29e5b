"""Switchboard: sizes of the Conformers, NIST's scoring in reports, and mistakes in one line."""

import json
import shutil
from pathlib import Path

import pytest

from speechbrain_recursive.analysis.cost import count_parameters
from speechbrain_recursive.analysis.nist import installed
from speechbrain_recursive.data.grammar import word_types
from speechbrain_recursive.hparams import load, merge

RECIPE = Path(__file__).parents[2] / "recipes/Switchboard"
MILLIONS = {12: 44.6, 10: 39.3, 8: 34.0, 6: 28.8, 4: 23.5}


@pytest.mark.parametrize("layers", MILLIONS)
def test_the_conformers_have_the_sizes_of_the_paper(layers):
    hparams, _ = load(RECIPE / f"hparams/conformer_{layers}.yaml", {"data_folder": "x"}, device="meta")
    total = count_parameters(hparams["model"].parts())["total"]
    assert total / 1e6 == pytest.approx(MILLIONS[layers], rel=0.002)
    assert len(hparams["schedule"]) == hparams["schedule"].n_layers == layers


def test_a_step_has_espnets_2500_seconds():
    tree = merge(RECIPE / "hparams/conformer_12.yaml")
    assert tree["max_batch_seconds"] * tree["grad_accumulation_factor"] == 2500


def test_the_minis_tokens_are_the_letters_of_transcripts():
    letters = {*"".join(word_types("en-us"))}
    assert letters < {*merge(RECIPE / "hparams/mini.yaml")["characters"]}


@pytest.fixture
def mini(switchboard, run_recipe, tmp_path):
    """``mini(*more)``: the mini recipe at a small width for two steps; returns the results folder."""

    def run(*more, corpus=switchboard):
        small = (
            "--d_model 16 --nhead 2 --d_ffn 32 --number_of_steps 2 --tensorboard False --eval_loops []"
        )
        folders = ["--data_folder", corpus, "--output_folder", tmp_path / "run"]
        splits = ["--corpus", "{dev_conversations: 1}"]
        words = [*folders, *splits, *small.split(), "--device", "cpu", "--noprogressbar", *more]
        run_recipe([RECIPE / "hparams/mini.yaml", *words], "Switchboard")
        return tmp_path / "run"

    return run


def test_reports_have_subsets_and_both_scorers(mini):
    folder = mini("--decoders", "{ngram: !remove , joint: !remove }")
    rows = {row["split"]: row for row in json.loads((folder / "report.json").read_text())["results"]}
    assert [*rows] == ["hub5e_00", "hub5e_00_ch", "hub5e_00_swb"]
    said = json.loads((folder / "hypotheses.json").read_text())
    assert len({(row["split"], row["id"]) for row in said}) == len(said) == 12
    by_split = {name: {row["id"] for row in said if row["split"] == name} for name in rows}
    assert by_split["hub5e_00"] == by_split["hub5e_00_ch"] | by_split["hub5e_00_swb"]
    assert all("(" not in row["reference"] for row in said)
    for row in rows.values():
        assert installed() == ("sclite" in row)
        assert row["wer"] == pytest.approx(row.get("sclite", row["wer"]), abs=0.1)
    assert installed() == (", sclite " in (folder / "report.md").read_text())


def test_rules_that_do_not_parse_stop_the_run_before_training(mini, switchboard, tmp_path):
    shutil.copytree(switchboard, tmp_path / "own")
    (path,) = (tmp_path / "own").rglob("*.glm")
    path.write_text(";; rules\nUH -> UM\n")
    with pytest.raises(SystemExit, match=rf"^error: {path}, line 2: 'UH -> UM' is no rule"):
        mini(corpus=tmp_path / "own")


def test_a_file_that_was_cut_short_stops_the_run_before_training(mini, switchboard, tmp_path):
    shutil.copytree(switchboard, tmp_path / "own")
    path = min((tmp_path / "own").rglob("en_*.sph"))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SystemExit, match=rf"^error: {path} was cut short: "):
        mini(corpus=tmp_path / "own")
    assert not [*(tmp_path / "run").glob("manifests/*.csv")]
