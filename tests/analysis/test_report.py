"""Reports from plain values: the contract of ``report.json``, the table, whole files or none."""

import json

import pytest

from speechbrain_recursive.analysis import report
from speechbrain_recursive.analysis.report import environment, result_row, write_report
from speechbrain_recursive.analysis.wer import error_rate, worst_utterances

TRIPLES = [("u1", ["the", "cat", "sat"], ["the", "mat", "sat"]), ("u2", ["yes"], ["yes"])]
INFO = {
    "schedule": "0-1 | (2-5)x4 | 6-7",
    "logical_depth": 20,
    "parameters": {"encoder": 25_200_000, "total": 25_300_000},
    "multiply_adds_per_second": {1: 250_000_000, 4: 10**9},
    "seed": 1234,
    "command": "python train.py hparams/mini.yaml",
    "synthetic": True,
    **environment(),
}


def make_rows():
    rate = error_rate(TRIPLES)
    rows = [
        result_row("test", loops, decoder, rate, 0.0125, loops == 4, loops == 4)
        for loops in (1, 4)
        for decoder in ("ngram", "greedy")
    ]
    return [*rows, result_row("test", 4, "joint", rate, None, True, True)]


def test_report_json_holds_the_contract(tmp_path):
    write_report(tmp_path / "results", make_rows(), INFO)
    written = json.loads((tmp_path / "results" / "report.json").read_text())
    keys = {"split", "loops", "decoder", "wer", "low", "high", "rtf", "trained", "supervised"}
    assert all(set(row) == keys for row in written["results"])
    assert written["results"][0]["wer"] == 25.0
    assert written["results"][0]["low"] <= 25.0 <= written["results"][0]["high"]
    assert written["multiply_adds_per_second"] == {"1": 250_000_000, "4": 10**9}
    assert written["parameters"]["encoder"] == 25_200_000
    assert written["synthetic"] is True
    assert "torch" in written["versions"]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "report.json",
        "report.md",
        "wer_vs_loops.png",
    ]


def test_terminal_and_markdown_show_the_same_table(tmp_path, capsys):
    table = write_report(tmp_path, make_rows(), INFO, {"test": worst_utterances(TRIPLES)})
    printed, written = capsys.readouterr().out, (tmp_path / "report.md").read_text()
    assert table in printed
    assert table in written
    head, _rule, first, second = table.splitlines()
    assert [cell.strip() for cell in head.split("|")[3:6]] == [
        "WER % greedy [95%]",
        "WER % ngram [95%]",
        "WER % joint [95%]",
    ]
    assert "25.0 [0.0, 33.3]" in first
    assert "0.25 G" in first
    assert "0.0125 / 0.0125 / -" in first
    assert "4 (trained, supervised)" in second
    assert "trained" not in first
    assert len({len(line) for line in table.splitlines()}) == 1  # columns stand in line
    assert "the ; cat ; sat" in written
    assert "the ; mat ; sat" in written
    assert "25,200,000" in written
    assert "`0-1 | (2-5)x4 | 6-7`" in written


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_speech_is_named_in_the_heading(tmp_path, capsys, synthetic):
    write_report(tmp_path, make_rows(), {**INFO, "synthetic": synthetic})
    for text in ((tmp_path / "report.md").read_text(), capsys.readouterr().out):
        assert ("synthetic speech" in text.splitlines()[0]) is synthetic


def test_loops_by_block_and_characters(tmp_path):
    loops = {"phonetic": 2, "linguistic": 3}
    row = result_row("dev", loops, "greedy", error_rate(TRIPLES), None, True, True, "cer")
    label = "phonetic 2, linguistic 3"
    table = write_report(tmp_path, [row], {"multiply_adds_per_second": {label: 3 * 10**9}})
    assert f"{label} (trained, supervised)" in table
    assert "3.00 G" in table
    assert "CER % greedy" in table
    assert json.loads((tmp_path / "report.json").read_text())["results"][0]["loops"] == loops


def test_a_report_cut_short_leaves_the_old_one(tmp_path, monkeypatch):
    write_report(tmp_path, make_rows(), INFO)
    before = (tmp_path / "report.json").read_bytes()

    def cut_short(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(report.os, "replace", cut_short)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, make_rows()[:1], INFO)
    assert (tmp_path / "report.json").read_bytes() == before
