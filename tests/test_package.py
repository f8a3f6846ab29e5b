"""What the package offers at its top."""

import subprocess
import sys

import pytest

import speechbrain_recursive


@pytest.mark.parametrize("name", speechbrain_recursive.__all__)
def test_public_names_can_be_imported(name):
    assert getattr(speechbrain_recursive, name).__name__ == name


def test_other_names_cannot():
    with pytest.raises(AttributeError, match="no attribute 'Depths'"):
        _ = speechbrain_recursive.Depths


def test_depths_and_schedules_need_no_torch():
    code = (
        "import sys; from speechbrain_recursive import Depth, latent; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
