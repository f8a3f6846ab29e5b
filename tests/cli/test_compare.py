"""``compare`` and ``analyze bins``, from the command line."""

import json

import pytest

from speechbrain_recursive.__main__ import main


@pytest.fixture
def runs(tmp_path):
    """Two results folders: at 4 loops B is perfect and A errs in every utterance but one."""
    folders = []
    for name, hypothesis in (("a", "X CAT SAT DOWN"), ("b", "A CAT SAT DOWN")):
        folder = tmp_path / name
        folder.mkdir()
        row = {"split": "test-clean", "decoder": "greedy", "reference": "A CAT SAT DOWN"}
        rows = [
            row | {"label": n, "id": f"u{i}", "hypothesis": hypothesis if i else "A CAT SAT DOWN"}
            for n in ("1", "4")
            for i in range(9)
        ]
        rows = [r | {"hypothesis": ""} if r["label"] == "1" and name == "b" else r for r in rows]
        (folder / "hypotheses.json").write_text(json.dumps(rows))
        results = [
            {"label": n, "decoder": "greedy", "trained": n == "4", "wer": 1.0} for n in ("1", "4")
        ]
        (folder / "report.json").write_text(json.dumps({"results": results}))
        folders.append(folder)
    return folders


def test_compare_prints_and_writes(runs, capsys):
    first, second = runs
    assert main(["compare", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert "no difference" in printed  # all segments differ equally, and sc_stats gives no z for that
    assert (second / "compare_a.md").read_text() == printed[:-1]
    (row,) = json.loads((second / "compare_a.json").read_text())["results"]
    assert row["difference"]["points"] == pytest.approx(-100 * 8 / 36)
    assert row["labels"] == ["4", "4"]


def test_compare_a_run_with_itself_at_two_depths(runs, capsys, tmp_path):
    second = str(runs[1])
    options = ["--loops", "1", "4", "--output_folder", str(tmp_path / "out")]
    assert main(["compare", second, second, *options]) == 0
    (row,) = json.loads((tmp_path / "out" / "compare_b.json").read_text())["results"]
    assert (row["labels"], row["first"]["wer"], row["second"]["wer"]) == (["1", "4"], 100.0, 0.0)
    assert "-100.00 [-100.00, -100.00]" in capsys.readouterr().out


def test_bins_leave_tables_and_a_plot(runs, capsys):
    first, second = runs
    assert main(["analyze", "bins", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert "regression to the mean" in printed
    assert (second / "bins_a.md").read_text() == printed[:-1]
    assert (second / "bins_test-clean_a.png").read_bytes()[1:4] == b"PNG"
    (found,) = json.loads((second / "bins_a.json").read_text())["results"]
    assert [(r["bin"], r["utterances"]) for r in found["error"]] == [("0", 1), ("20-30", 8)]


@pytest.mark.parametrize("command", [["compare"], ["analyze", "bins"]])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--loops", "7"], "at loops 7"),
        (["--loops", "1", "2", "3"], "--loops takes one count or two, not 3"),
        (["--decoder", "joint"], "by joint"),
        (["--split", "dev"], "no hypotheses of dev"),
    ],
)
def test_mistakes_are_one_line(runs, capsys, command, options, said):
    assert main([*command, *map(str, runs), *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_without_hypotheses_is_named(runs, capsys, tmp_path):
    assert main(["compare", str(runs[0]), str(tmp_path)]) == 1
    assert f"{tmp_path}/hypotheses.json does not exist" in capsys.readouterr().err
