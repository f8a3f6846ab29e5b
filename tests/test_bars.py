"""Bars are for terminals."""

import io
import sys

import pytest

from speechbrain_recursive.bars import Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    """``stderr(kind)``: puts a stream of a kind in place of stderr."""
    monkeypatch.setattr(Bar, "shown", True)

    def put(kind):
        monkeypatch.setattr(sys, "stderr", kind())
        return sys.stderr

    return put


def test_a_terminal_sees_it_and_a_file_does_not(stderr):
    for kind, seen in ((Terminal, True), (io.StringIO, False)):
        stream = stderr(kind)
        assert list(Bar(range(3), desc="Counting")) == [0, 1, 2]
        assert ("Counting" in stream.getvalue()) == seen


def test_all_of_them_can_be_turned_off(stderr):
    stream = stderr(Terminal)
    Bar.shown = False
    assert list(Bar(range(3), desc="Counting")) == [0, 1, 2]
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [(Terminal, [], True), (Terminal, ["--noprogressbar"], False), (io.StringIO, [], False)],
)
def test_of_a_whole_run(stderr, tmp_path, run_recipe, small_mini, kind, options, seen):
    stream = stderr(kind)
    words = ["--data_folder", "null", "--synthetic_folder", tmp_path / "corpus"]
    words += ["--synthetic", "{n_train: 8, n_dev: 2, n_test: 2}", "--number_of_steps", 1]
    run_recipe([*small_mini(tmp_path / "run"), *words, *options])
    bars = [line for line in stream.getvalue().replace("\r", "\n").splitlines() if "%|" in line]
    for name in ("Synthesis", "epoch 1, train", "epoch 1, valid", "test-clean, 3"):
        assert any(line.startswith(f"{name}:") for line in bars) == seen, name
    assert bool(bars) == seen
