"""``make setup`` without a network: what it asks pip for, and what it says where the extra fails."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).parents[1]
PYTHON = """\
#!/bin/sh
# Stands for Python: makes a venv of itself, writes down what it is asked, and lets the extra fail.
echo "$*" >> asked
case "$*" in
*venv*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*ngram*) echo "noise" && echo "error: no compiler" >&2 && exit "$EXTRA" ;;
esac
"""


@pytest.fixture
def setup(tmp_path):
    """``setup(extra)``: run make setup in a folder where installing the extra ends with this status."""
    for name in ("Makefile", "setup.py"):
        shutil.copy(REPOSITORY / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(extra):
        command = ["make", "setup", f"PYTHON={python}"]
        # The tests may run under make themselves, which tells the one below to say so.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        environment["EXTRA"] = str(extra)
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = (done.stdout + done.stderr).splitlines()
        asked = (tmp_path / "asked").read_text().splitlines()
        (tmp_path / "asked").write_text("")
        return [line for line in said if not line.startswith((".venv/", str(python), "touch"))], asked

    return run


def test_a_failing_extra_is_one_line(setup):
    said, asked = setup(extra=1)
    (line,) = said
    assert "n-gram beam search will run in NumPy" in line
    (required,) = [call for call in asked if "[dev]" in call]
    assert "--only-binary :all:" in required
    assert setup(extra=1) == (["make: Nothing to be done for 'setup'."], [])


def test_an_extra_that_installs_is_silent(setup):
    said, asked = setup(extra=0)
    assert said == []
    assert [call for call in asked if "[ngram]" in call]


def test_what_needs_a_compiler_is_not_required(monkeypatch):
    given = {}
    stub = SimpleNamespace(setup=given.update, find_packages=lambda include: include)
    monkeypatch.setitem(sys.modules, "setuptools", stub)
    runpy.run_path(str(REPOSITORY / "setup.py"))
    required = given["install_requires"] + given["extras_require"]["dev"]
    assert not [name for name in required if name.startswith(("kenlm", "flashlight"))]
    assert [name.split(">")[0] for name in given["extras_require"]["ngram"]] == [
        "flashlight-text",
        "kenlm",
    ]
