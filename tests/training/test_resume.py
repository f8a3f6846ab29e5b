"""The LibriSpeech recipe, killed and resumed, ends with the weights of an undisturbed run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks/kill_and_resume.py"


def logged(folder):
    """The lines of a log, once each and without times."""
    text = (folder / "train_log.txt").read_text()
    lines = re.sub(r", (seconds per step|audio seconds per second|time left): [^,\n]+", "", text)
    return list(dict.fromkeys(lines.splitlines()))


def test_three_kills_leave_no_trace(tmp_path):
    process = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "3", "--seed", "1", "--folder", tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    kinds = [
        line.split("(")[1].split()[0] for line in process.stdout.splitlines() if "left in save" in line
    ]
    assert len(kinds) == 3
    assert {"batch", "save"} <= {*kinds}
    assert "3 kills; all" in process.stdout

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected, found = (torch.load(run / "model.ckpt") for run in (whole, killed))
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    for name in ("tokenizer.json", "hypotheses.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert logged(killed) == logged(whole)
    console = (killed / "console.txt").read_text()
    assert "Loading a checkpoint from" in console
    assert all(path.name.startswith("CKPT+") for path in (killed / "save").iterdir())
