"""What the package offers at its top."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import speechbrain_recursive


@pytest.mark.parametrize("name", speechbrain_recursive.__all__)
def test_public_names_can_be_imported(name):
    assert getattr(speechbrain_recursive, name).__name__ == name


def test_other_names_cannot():
    with pytest.raises(AttributeError, match="no attribute 'Depths'"):
        _ = speechbrain_recursive.Depths


def openmp(code="import speechbrain_recursive, torch", **variables):
    """What libgomp says that it runs with, by variable, once a program has imported torch."""
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(re.findall(r"(\w+) = '(\w+)'", process.stderr))


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings libgomp on Linux")
def test_waiting_threads_spin_briefly_unless_the_environment_says_otherwise():
    assert openmp()["GOMP_SPINCOUNT"] == "1000"
    assert openmp(GOMP_SPINCOUNT="77")["GOMP_SPINCOUNT"] == "77"
    assert int(openmp(OMP_WAIT_POLICY="active")["GOMP_SPINCOUNT"]) > 1_000_000


@pytest.mark.parametrize(
    "recipe", ["LibriSpeech", "AISHELL-1", "CommonVoice-fr", "Switchboard", "Manifest"]
)
def test_recipes_start_with_it(recipe):
    """Before torch is imported, which reads it once."""
    script = Path(__file__).parents[1] / "recipes" / recipe / "train.py"
    assert openmp(f"import runpy; runpy.run_path({str(script)!r})")["GOMP_SPINCOUNT"] == "1000"


def test_depths_and_schedules_need_no_torch():
    code = (
        "import sys; from speechbrain_recursive import Depth, latent; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
