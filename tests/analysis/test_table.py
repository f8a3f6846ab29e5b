"""Several runs in one table."""

import json

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.analysis.table import read_runs, runs_table
from speechbrain_recursive.errors import UserError


def rate(wer, split="test-clean", decoder="greedy", trained=True, metric="wer"):
    ends = (None, None) if wer is None else (wer - 1, wer + 1)
    low, high = ends
    row = {"split": split, "decoder": decoder, "trained": trained}
    return row | {metric: wer, "low": low, "high": high}


@pytest.fixture
def write(tmp_path):
    """``write(name, *rows)`` writes a report; returns the folder."""

    def report(name, *rows, depth=9):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        facts = {"parameters": {"encoder": 1, "total": 16_230_000}, "logical_depth": depth}
        (folder / "report.json").write_text(json.dumps({"results": rows, **facts}))
        return folder

    return report


def test_reductions_refer_to_the_baseline_on_the_same_test_set(write):
    base = write("base", rate(4.53), rate(11.44, "test-other"))
    ours = write("ours", rate(3.67), rate(8.93, "test-other"), depth=20)
    first, second = read_runs([ours], base)  # the baseline need not be listed
    assert (first["folder"], second["depth"]) == (str(base), 20)
    assert [rates["reduction"] for rates in first["splits"].values()] == [None, None]
    clean, other = (rates["reduction"] for rates in second["splits"].values())
    assert clean == pytest.approx(18.98, abs=0.01)  # as the paper's table has it
    assert other == pytest.approx(21.94, abs=0.01)


def test_a_run_that_is_worse_has_a_negative_reduction(write):
    base, worse = write("base", rate(10.0)), write("worse", rate(15.0))
    _, run = read_runs([base, worse], base)
    assert run["splits"]["test-clean"]["reduction"] == pytest.approx(-50.0)
    assert "-50.0" in runs_table([run])


def test_what_diverged_is_marked(write):
    base, lost = write("base", rate(10.0)), write("lost", rate(None))
    _, run = read_runs([base, lost], base)
    line = runs_table([run]).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")[-3:-1]] == ["DNC", "-"]
    assert read_runs([base], lost)[1]["splits"]["test-clean"]["reduction"] is None


def test_a_baseline_without_errors_has_no_reductions(write):
    base, ours = write("base", rate(0.0)), write("ours", rate(1.0))
    assert read_runs([ours], base)[1]["splits"]["test-clean"]["reduction"] is None


def test_only_the_trained_depth_counts(write):
    rows = rate(50.0, trained=False), rate(8.0), rate(2.0, decoder="ngram")
    base = write("base", *rows)
    assert read_runs([base], base)[0]["splits"]["test-clean"]["wer"] == 8.0
    assert read_runs([base], base, "ngram")[0]["splits"]["test-clean"]["wer"] == 2.0


def test_seeds_are_averaged(write):
    base = [write(f"base/{seed}", rate(wer)) for seed, wer in enumerate((8.0, 12.0))]
    ours = [write(f"ours/{seed}", rate(wer)) for seed, wer in enumerate((4.0, 5.0, 9.0))]
    first, second = runs = read_runs([*base, *ours], base[1], seeds=True)
    assert [run["seeds"] for run in runs] == [2, 3]
    assert first["splits"]["test-clean"] == {"wer": 10.0, "low": 8.0, "high": 12.0, "reduction": None}
    assert second["splits"]["test-clean"] == {"wer": 6.0, "low": 4.0, "high": 9.0, "reduction": 40.0}
    assert "6.00 [4.00, 9.00] |  +40.0 |" in runs_table(runs)


def test_a_seed_that_diverged_is_not_averaged_away(write):
    base = write("base/1", rate(8.0))
    ours = [write(f"ours/{seed}", rate(wer)) for seed, wer in enumerate((4.0, None))]
    _, run = read_runs(ours, base, seeds=True)
    assert (run["seeds"], run["splits"]["test-clean"]["wer"]) == (2, None)


def test_different_models_are_not_averaged(write):
    base, other = write("base/1", rate(8.0)), write("base/2", rate(7.0), depth=20)
    with pytest.raises(UserError, match="base holds runs of different models"):
        read_runs([base, other], base, seeds=True)


@pytest.mark.parametrize(
    ("row", "options", "said"),
    [
        (rate(5.0, "test-other"), {}, "has WER on test-other and the baseline WER on test-clean"),
        (rate(5.0, metric="cer"), {}, "has CER on test-clean and the baseline WER"),
        ({}, {}, "is not what a run writes"),
        (rate(5.0), {"decoder": "joint"}, "no results of the decoder joint; it has greedy"),
    ],
)
def test_mistakes_are_one_line(write, row, options, said):
    base, other = write("base", rate(9.0)), write("other", row)
    with pytest.raises(UserError, match=said):
        read_runs([other], base, **options)


def test_the_command_prints_and_writes(write, capsys, tmp_path):
    base, ours = write("base", rate(10.0)), write("ours", rate(7.5))
    words = ["table", str(base), str(ours), "--baseline", str(base)]
    assert main([*words, "--output_folder", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "7.50 [6.50, 8.50] |  +25.0 |" in printed
    assert (tmp_path / "out/table.md").read_text() == printed[:-1]
    assert len(json.loads((tmp_path / "out/table.json").read_text())) == 2
    assert main(["table", str(ours), "--baseline", str(tmp_path / "none")]) == 1
    assert "does not exist: evaluate the run first" in capsys.readouterr().err
