"""Whatever stops a command is one line or none, and an exit code."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.cli import describe
from speechbrain_recursive.inference.recording import Transcript
from speechbrain_recursive.inference.transcribe import RecursiveASR

MINI = Path(__file__).parents[1] / "recipes/LibriSpeech/hparams/mini.yaml"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "error: /x: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device\n"),
        (ConnectionError(), 1, "error: ConnectionError\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_the_system_says(monkeypatch, capsys, error, code, said):
    def fail(*_):
        raise error

    monkeypatch.setattr(describe, "_run", fail)
    assert main(["describe", "a.yaml"]) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: command; see speechbrain-recursive --help"),
        (["calibrate", "run", "--loops", "x"], "argument --loops: invalid int value: 'x'; see"),
        (["compare", "a", "b", "--gone"], "unrecognized arguments: --gone; see"),
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, words, said):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1


def test_a_reader_that_has_gone_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "speechbrain_recursive", "describe", MINI, "--yaml"]
    process = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writer)
    assert process.returncode == 141
    assert process.stderr == b""


def test_transcripts_can_be_read_as_they_come(monkeypatch):
    class Terminal(io.StringIO):
        shown = ""

        def flush(self):
            self.shown = self.getvalue()

    class Stub:
        def transcribe(self, sources, *_, **__):
            for count, source in enumerate(sources):
                assert terminal.shown.count("\tA\n") == count
                yield Transcript(source.label, text="A")

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(RecursiveASR, "from_hparams", lambda *_, **__: Stub())
    assert main(["transcribe", "run", "a.wav", "b.wav", "c.wav"]) == 0
    assert terminal.shown.count("\n") == 3
