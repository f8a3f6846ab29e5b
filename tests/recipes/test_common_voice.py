"""Common Voice French: accented characters from the tables to the hypotheses."""

import json
from pathlib import Path

import pytest

from speechbrain_recursive.data.french import normalize
from speechbrain_recursive.data.grammar import word_types
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.hparams import merge

RECIPE = Path(__file__).parents[2] / "recipes/CommonVoice-fr"


def test_the_minis_alphabet_has_the_letters_of_french():
    alphabet = {*merge(RECIPE / "hparams/mini.yaml")["characters"]}
    assert {*normalize(" ".join(word_types("fr")))} - {" "} <= alphabet
    assert {*"éèêëàâîïôûùüÿç'"} <= alphabet
    assert all(letter == "'" or normalize(letter) == letter for letter in alphabet)


@pytest.fixture
def mini(common_voice, run_recipe, tmp_path):
    """``mini(*more)``: the mini recipe at a small width for two steps; returns the results folder."""

    def run(*more):
        small = (
            "--d_model 16 --nhead 2 --d_ffn 32 --number_of_steps 2 --tensorboard False --eval_loops [3]"
        )
        folders = ["--data_folder", common_voice, "--output_folder", tmp_path / "run"]
        words = [*folders, *small.split(), "--device", "cpu", "--noprogressbar", *more]
        run_recipe([RECIPE / "hparams/mini.yaml", *words], "CommonVoice-fr")
        return tmp_path / "run"

    return run


def test_accents_reach_tokens_and_references(mini):
    folder = mini()
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    assert tokenizer.decode(tokenizer.encode("l'été où ça")) == "l'été où ça"
    references = {
        row["reference"] for row in json.loads((folder / "hypotheses.json").read_text("utf-8"))
    }
    assert len(references) == 3
    assert all(normalize(reference) == reference for reference in references)
    assert {*"éèêàôùç"} & {*"".join(references)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data_folder", "nowhere"], "no Common Voice at nowhere: .*form"),
        (
            ["--characters", "abc"],
            r"train\.csv, line \d+: common_voice_fr_\d+ has .*, which the alphabet does not",
        ),
    ],
)
def test_mistakes_are_one_line(mini, words, message):
    with pytest.raises(SystemExit, match=f"^error: .*({message})") as raised:
        mini(*words)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_downloads_are_refused_in_one_line(run_recipe, tmp_path, folder):
    words = [RECIPE / "hparams/mini.yaml", "--output_folder", tmp_path, "--download", "True"]
    words += ["--data_folder", tmp_path / folder] if folder else []
    with pytest.raises(SystemExit, match=r"^error: (--download True needs|no Common Voice at .*form)"):
        run_recipe([*words, "--device", "cpu", "--noprogressbar"], "CommonVoice-fr")
