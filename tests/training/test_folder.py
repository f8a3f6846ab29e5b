"""Results folders say what ran where."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.training.folder import open_folder

RECIPE = Path(__file__).parents[2] / "recipes/LibriSpeech"


def test_the_script_of_the_recipe_is_kept(trained):
    assert (trained / "train.py").read_text() == (RECIPE / "train.py").read_text()
    assert not (trained / "run.py").exists()


def test_the_packages_are_those_of_the_interpreter_that_runs(trained):
    lines = (trained / "env.log").read_text().splitlines()
    assert sys.executable in lines
    pip = [sys.executable, "-m", "pip", "list", "--format=freeze"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=True).stdout.lower().split()
    assert {*map(str.lower, lines)} >= {
        line for line in listed if line.startswith(("torch==", "numpy=="))
    }


def test_the_report_says_what_was_trained_on_when_and_with_which_code(trained):
    report = json.loads((trained / "report.json").read_text())
    assert (report["corpus"], report["synthetic"]) == ("LibriSpeech", False)
    assert report["utterances"] == {"train-clean-100": 24, "dev-clean": 2, "test-clean": 2}
    assert 0 < report["hours"]["train-clean-100"] < 0.1
    assert 0 < report["training_seconds"] < 600
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=RECIPE, capture_output=True, text=True, check=False
    )
    if head.returncode == 0:
        assert head.stdout.startswith(report["commit"].removesuffix("-dirty"))
    assert report["date"].startswith("20")
    assert re.match("flashlight-text|NumPy", report["engines"]["ngram"])
    text = (trained / "report.md").read_text()
    assert "corpus: `LibriSpeech`" in text


@pytest.mark.parametrize("what", ["a file in the way", "a folder that may not be written"])
def test_a_folder_that_cannot_be_written_is_refused_by_name(tmp_path, what):
    if what == "a file in the way":
        (tmp_path / "results").write_text("")
        folder = tmp_path / "results/mini"
    else:
        folder = Path("/proc/results")  # where not even root may write
    with pytest.raises(UserError, match=f"output_folder: {folder} cannot be written: "):
        open_folder(folder)


def test_a_folder_that_cannot_be_written_is_refused_before_the_corpus_is_made(mini, tmp_path):
    with pytest.raises(SystemExit, match="output_folder: /proc/run cannot be written"):
        mini("/proc/run", "data_folder", "null", "synthetic_folder", tmp_path / "synthetic")
    assert not (tmp_path / "synthetic").exists()


@pytest.mark.parametrize("kilobytes", [2, 20, 60])
def test_a_full_disk_ends_a_run_with_one_line(mini, tmp_path, kilobytes):
    """A limit on the size of files stands in for the full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kilobytes, hard))
    try:
        with pytest.raises(SystemExit, match=r"^error: .*(File too large|not be written whole).*$"):
            mini(tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*(tmp_path / "run").rglob(".partial-*"), *(tmp_path / "run/save").glob("CKPT*")]
