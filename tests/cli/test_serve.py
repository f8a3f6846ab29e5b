"""``serve`` from the command line: what it needs, and what it says."""

import logging
import socket
import sys

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.serving.server import KEY, LOOPBACK, hosts_of


@pytest.fixture
def error_of(capsys):
    """``error_of(*words)``: the line with which the command ends."""

    def run(*words):
        assert main(["serve", *map(str, words)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return run


@pytest.mark.parametrize("name", ["fastapi", "uvicorn"])
def test_what_is_not_installed_is_named(error_of, monkeypatch, name):
    for module in ("app", "server"):
        monkeypatch.delitem(sys.modules, f"speechbrain_recursive.serving.{module}", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    said = f"error: serve needs {name}: pip install 'speechbrain-recursive[serve]'\n"
    assert error_of("results") == said


def test_mistakes_are_one_line(error_of, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = error_of(tmp_path, "--port", port)
        assert f"error: --host 127.0.0.1 --port {port}: Address already in use" in said
    assert "--host nowhere.invalid --port 8000" in error_of(tmp_path, "--host", "nowhere.invalid")
    assert "--port 99999" in error_of(tmp_path, "--port", 99999)
    assert str(tmp_path) in error_of(tmp_path, "--port", 0)
    for key in ("", "two words", "clé"):
        monkeypatch.setenv(KEY, key)
        assert f"{KEY} must be one word" in error_of(tmp_path, "--port", 0)


def test_other_machines_are_let_in_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert hosts_of("127.0.0.1", None) == set(LOOPBACK)
        assert hosts_of("0.0.0.0", "key") is None
        assert caplog.messages == []
        assert hosts_of("0.0.0.0", None) is None
    (message,) = caplog.messages
    assert KEY in message
