"""The benchmark of the n-gram beam runs with and without flashlight-text, and on a results folder."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("beam_search")


def test_compares_what_is_installed(bench, tmp_path, capsys):
    utterances, tokenizer, arpa = bench.synthetic(2, tmp_path)
    names = bench.searches(tokenizer, arpa, bench.Options(5, 0.5, 1.0, 10.0)).keys()
    ratios, wer = bench.compare(utterances, tokenizer, arpa, width=5, pairs=6)
    assert wer.keys() == {"greedy", *names}
    assert len(ratios) == len(names) * (len(names) - 1) // 2
    assert ("2 of 2 transcripts are the same" in capsys.readouterr().out) == ("flashlight-text" in names)


def test_runs_where_only_numpy_is(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.flash, "ENGINE", None)
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    ratios, wer = bench.compare(*bench.synthetic(2, tmp_path), width=5, pairs=6)
    assert (ratios, wer.keys()) == ({}, {"greedy", "NumPy"})


def test_reads_a_results_folder(bench, trained):
    utterances, tokenizer, arpa = bench.load_log_probs(trained)
    assert Path(arpa).is_file()
    assert {len(u["log_probs"][0]) for u in utterances} == {len(tokenizer)}
