"""Two trainings run alone and at once, with the spin counts that they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/side_by_side.py"
TINY = """base: {mini}
d_model: 16
nhead: 2
d_ffn: 32
max_batch_seconds: 4
"""


def test_prints_the_ratios_of_two_and_of_each_alone(tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY.format(mini=SCRIPT.parents[1] / "recipes/LibriSpeech/hparams/mini.yaml"))
    process = subprocess.run(
        [sys.executable, SCRIPT, "--recipe", recipe, "--rounds", "6", "--steps", "2"],
        env=os.environ | {"GOMP_SPINCOUNT": "77"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    head, first, second, alone = process.stdout.splitlines()
    assert "6 rounds of 2 steps" in head
    assert "GOMP_SPINCOUNT 1000 and, for libgomp's default, 300000" in head
    ratio = r"time ratio \d+\.\d+ \[\d+\.\d+, \d+\.\d+\], \d+\.\d and \d+\.\d steps/s"
    assert re.fullmatch(rf"first, beside to alone: {ratio}", first)
    assert re.fullmatch(rf"second, beside to alone: {ratio}", second)
    assert re.fullmatch(rf"alone, to libgomp's default: {ratio}", alone)
