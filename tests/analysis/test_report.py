"""The content of ``report.json``, the table, and files that are replaced in one step."""

import json

import pytest

from speechbrain_recursive.analysis import report
from speechbrain_recursive.analysis.report import environment, result_row, write_report
from speechbrain_recursive.analysis.wer import error_rate, worst_utterances
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import bicycle, latent, standard, unfold

TRIPLES = [("u1", ["the", "cat", "sat"], ["the", "mat", "sat"]), ("u2", ["yes"], ["yes"])]
INFO = {
    "schedule": "0-1 | (2-5)x4 | 6-7",
    "logical_depth": 20,
    "parameters": {"encoder": 25_200_000, "total": 25_300_000},
    "multiply_adds_per_second": {"1": 250_000_000, "4": 10**9},
    "seed": 1234,
    "command": "python train.py hparams/mini.yaml",
    "synthetic": True,
    **environment(),
}


def at(loops):
    return Depth(latent(n_recurrent=4, loops=loops, n_prelude=2, n_coda=2))


def make_rows():
    rate = error_rate(TRIPLES)
    rows = [
        result_row("test", at(loops), decoder, rate, 0.0125, loops == 4, loops == 4)
        for loops in (1, 4)
        for decoder in ("rescored", "greedy")
    ]
    return [*rows, result_row("test", at(4), "joint", rate, None, True, True)]


def test_report_json_holds_the_contract(tmp_path):
    write_report(tmp_path / "results", make_rows(), INFO)
    written = json.loads((tmp_path / "results" / "report.json").read_text())
    keys = {"split", "label", "loops", "decoder", "wer", "low", "high"}
    keys |= {"rtf", "trained", "supervised"}
    assert all(set(row) == keys for row in written["results"])
    assert [(row["label"], row["loops"]) for row in written["results"][1:3]] == [("1", 1), ("4", 4)]
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


def test_rates_by_sclite_stand_beside_ours(tmp_path):
    rows = [row | ({"sclite": 24.96} if row["decoder"] == "greedy" else {}) for row in make_rows()]
    table = write_report(tmp_path, rows, INFO)
    assert table.count("], sclite 25.0 |") == 2
    assert table.count("sclite") == 2


def test_the_last_line_names_the_report_and_the_plot(tmp_path, capsys):
    write_report(tmp_path, make_rows(), INFO)
    *_, line = capsys.readouterr().out.splitlines()
    assert line == f"Report: {tmp_path / 'report.md'}, plot: {tmp_path / 'wer_vs_loops.png'}"


def test_terminal_and_markdown_show_the_same_table(tmp_path, capsys):
    table = write_report(tmp_path, make_rows(), INFO, {"test": worst_utterances(TRIPLES)})
    printed, written = capsys.readouterr().out, (tmp_path / "report.md").read_text()
    assert table in printed
    assert table in written
    head, _rule, first, second = table.splitlines()
    assert [cell.strip() for cell in head.split("|")[3:6]] == [
        "WER % rescored [95%]",
        "WER % greedy [95%]",
        "WER % joint [95%]",
    ]
    assert "25.0 [0.0, 33.3]" in first
    assert "0.25 G" in first
    assert "0.0125 / 0.0125 / -" in first
    assert "4 (trained, supervised)" in second
    assert "trained" not in first
    assert len({len(line) for line in table.splitlines()}) == 1  # columns are aligned
    assert "the ; cat ; sat" in written
    assert "the ; mat ; sat" in written
    assert "25,200,000" in written
    assert "`0-1 | (2-5)x4 | 6-7`" in written


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_speech_is_named_in_the_heading(tmp_path, capsys, synthetic):
    write_report(tmp_path, make_rows(), {**INFO, "synthetic": synthetic})
    for text in ((tmp_path / "report.md").read_text(), capsys.readouterr().out):
        assert ("synthetic speech" in text.splitlines()[0]) is synthetic


def test_depth_where_there_is_no_one_loop_count(tmp_path):
    rate, depth = error_rate(TRIPLES), Depth(bicycle(4, 5, 2, 3))
    row = result_row("dev", depth, "greedy", rate, None, True, True, "cer")
    assert (row["label"], row["depth"]) == ("20 (phonetic x2, linguistic x3)", 20)
    assert "loops" not in row
    info = {"multiply_adds_per_second": {row["label"]: 3 * 10**9}}
    head, _, line = write_report(tmp_path, [row], info).splitlines()
    assert f"{row['label']} (trained, supervised)" in line
    assert "3.00 G" in line
    assert [cell.strip() for cell in head.split("|")[2:4]] == ["depth", "CER % greedy [95%]"]
    assert (tmp_path / "wer_vs_depth.png").read_bytes()[1:4] == b"PNG"
    assert not (tmp_path / "wer_vs_loops.png").exists()
    assert "(wer_vs_depth.png)" in (tmp_path / "report.md").read_text()


def test_a_plain_encoder_has_depth_and_paths_have_lines_of_their_own(tmp_path):
    rate = error_rate(TRIPLES)
    depths = [Depth(standard(4)), *(Depth(unfold(4, 6, path=path)) for path in ((0, 1), (2, 3)))]
    rows = [result_row("dev", depth, "greedy", rate, None, False, False) for depth in depths]
    assert [row["depth"] for row in rows] == [4, 6, 6]
    table = write_report(tmp_path, rows, {}).splitlines()[2:]
    labels = ["4", "6 (layer0-1 x2)", "6 (layer2-3 x2)"]
    assert [line.split("|")[2].strip() for line in table] == labels


def test_a_depth_may_have_another_label(tmp_path):
    rate = error_rate(TRIPLES)
    row = result_row("dev", at(20), "greedy", rate, None, True, True, label="1-20")
    assert (row["label"], row["loops"]) == ("1-20", 20)
    assert "1-20 (trained" in write_report(tmp_path, [row], {})


def test_a_report_cut_short_leaves_the_old_one(tmp_path, monkeypatch):
    write_report(tmp_path, make_rows(), INFO)
    before = (tmp_path / "report.json").read_bytes()

    def cut_short(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(report.os, "replace", cut_short)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, make_rows()[:1], INFO)
    assert (tmp_path / "report.json").read_bytes() == before
