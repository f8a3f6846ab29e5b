"""AISHELL-1: rows of "Rethinking Depth", tokens of characters, and errors counted by character."""

import json
from pathlib import Path

import pytest

from speechbrain_recursive.data.grammar import word_types
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.hparams import merge
from speechbrain_recursive.inference.describe import describe

RECIPE = Path(__file__).parents[2] / "recipes/AISHELL-1"


@pytest.mark.parametrize(
    ("row", "millions", "layers", "depth"), [("b2", 15.7, 12, 12), ("l4", 7.9, 6, 12)]
)
def test_the_papers_rows(row, millions, layers, depth):
    found = describe(RECIPE / f"hparams/depth_{row}.yaml")
    assert found["parameters"]["encoder"] / 1e6 == pytest.approx(millions, rel=0.01)
    assert (found["physical_layers"], found["logical_depth"]) == (layers, depth)


def test_train_py_is_thin():
    assert len((RECIPE / "train.py").read_text().splitlines()) < 100


def test_the_minis_tokens_are_the_grammars_characters():
    mini = merge(RECIPE / "hparams/mini.yaml")
    assert mini["vocab_size"] == 4 + len({*"".join(word_types("cmn"))})


@pytest.fixture
def mini(aishell, run_recipe, tmp_path):
    """``mini(*more)``: the mini recipe at a small width for two steps; returns the results folder."""

    def run(*more, corpus=aishell):
        small = (
            "--d_model 16 --nhead 2 --d_ffn 32 --number_of_steps 2 --tensorboard False --eval_loops [3]"
        )
        folders = ["--data_folder", corpus, "--output_folder", tmp_path / "run"]
        words = [*folders, *small.split(), "--device", "cpu", "--noprogressbar", *more]
        run_recipe([RECIPE / "hparams/mini.yaml", *words], "AISHELL-1")
        return tmp_path / "run"

    return run


def test_errors_and_ngrams_are_of_characters(mini):
    folder = mini("--decoders", "{joint: {ngram_weight: 0.1, ngram_order: 2}}")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    assert len(tokenizer) == 107
    assert "|" not in tokenizer.pieces
    assert "valid CER" in (folder / "train_log.txt").read_text()
    for arpa in ("ngram4.arpa", "tokens2.arpa"):
        unigrams = (folder / arpa).read_text("utf-8").split("1-grams:")[1].split("2-grams:")[0]
        words = {line.split("\t")[1] for line in unigrams.strip().split("\n")[:-1] if line}
        assert all(len(word) == 1 for word in words - {"<s>", "</s>", "<unk>"})
        assert len(words) > 20
    rows = json.loads((folder / "hypotheses.json").read_text("utf-8"))
    assert {row["decoder"] for row in rows} == {"greedy", "ngram", "joint"}
    for row in rows:
        for said in (row["reference"], row["hypothesis"]):
            assert all(len(unit) == 1 for unit in said.split())
    assert "CER % greedy" in (folder / "report.md").read_text("utf-8")


def test_too_few_tokens_are_one_line_before_training(mini):
    with pytest.raises(
        SystemExit, match=r"^error: .*size is 20, .* set size to (\d+), with --tokenizer '{size: \1}'$"
    ):
        mini("--vocab_size", "20")


def test_a_missing_transcript_file_is_one_line(mini, tmp_path):
    (tmp_path / "corpus/wav").mkdir(parents=True)
    with pytest.raises(
        SystemExit, match=r"^error: no transcripts at .*aishell_transcript_v0.8.txt: unpack"
    ):
        mini(corpus=tmp_path / "corpus")
