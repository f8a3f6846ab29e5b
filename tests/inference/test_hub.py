"""Uploading and fetching, against a server on the loopback interface that speaks the Hub's API."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hub import fetch, pin
from speechbrain_recursive.inference.hub import check_name, upload

SPEC = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
hub_server = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hub_server)
NAME = "me/my-model"
UPLOAD = """
import sys
from speechbrain_recursive.hub import fetch
from speechbrain_recursive.inference.hub import upload
folder, name = sys.argv[1:]
print(fetch(name, upload(folder, name)))
"""


@pytest.fixture
def folder(tmp_path):
    """What to upload: two large files, and others."""
    folder = tmp_path / "folder"
    (folder / "lm").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * 9999)
    (folder / "lm/model.safetensors").write_bytes(b"more" * 9999)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# A model\n")
    (folder / "hyperparams.yaml").write_text("a: 1\n")
    return folder


def content(folder):
    """Files by path, without the Hub's own."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {k: v for k, v in names.items() if not k.startswith((".cache", ".git"))}


def refused(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    said = str(caught.value)
    assert "\n" not in said
    assert hub_server.TOKEN not in said
    return said


def test_round_trip(hub, folder, caplog):
    first = upload(folder, NAME)
    fetched = fetch(NAME)
    assert first in caplog.text  # the revision to pin
    assert content(fetched) == content(folder)
    assert not any(path.is_symlink() for path in fetched.rglob("*"))
    assert len(hub.received) == 2

    (folder / "hyperparams.yaml").write_text("a: 2\n")
    (folder / "lm/model.safetensors").unlink()
    second = upload(folder, NAME)
    assert len(hub.received) == 2  # the weights are there
    assert content(fetch(NAME)) == content(folder)  # what is gone here is gone there
    pinned = fetch(NAME, first)
    assert (pinned / "hyperparams.yaml").read_text() == "a: 1\n"
    assert (pinned / "lm/model.safetensors").is_file()
    assert fetch(NAME, second) == fetch(NAME)
    assert fetch(f"{NAME}@{first}") == pinned
    assert pin(NAME) == pin(f"{NAME}@main") == f"{NAME}@{second}"
    assert pin(f"{NAME}@{first}") == f"{NAME}@{first}"


def test_a_commit_that_was_fetched_needs_no_network(hub, folder, tmp_path):
    revision = upload(folder, NAME)
    there = fetch(NAME, revision, tmp_path / "there")
    assert there == tmp_path / "there"
    hub.repos.clear()
    assert fetch(NAME, revision, tmp_path / "there") == there
    assert content(there) == content(folder)


def test_a_broken_connection(hub, folder):
    (folder / "lm/model.safetensors").write_bytes(b"more" * 999999)
    hub.broken = 1000
    hub.store((folder / "model.safetensors").read_bytes())  # of two large files, one has arrived
    said = refused(upload, folder, NAME)
    assert "the connection broke" in said
    assert "run the command again, and it goes on with what is missing" in said
    assert 1000 - hub.broken > 1  # it was tried more than once
    assert hub.received == []
    assert set(hub.files_of(NAME)) == {".gitattributes"}  # nobody sees half a model

    hub.broken = 0
    revision = upload(folder, NAME)
    assert len(hub.received) == 1
    assert content(fetch(NAME, revision)) == content(folder)


def test_a_killed_upload_is_resumed(folder, tmp_path):
    """With HF_ENDPOINT and in processes, as a user's."""
    large = folder / "model.safetensors"
    large.write_bytes(b"weights" * 9999999)  # more than the buffers of a socket
    environment = os.environ | {"HF_TOKEN": hub_server.TOKEN, "HF_HUB_DISABLE_XET": "1"}
    with hub_server.hub() as server:
        environment |= {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
        words = [sys.executable, "-c", UPLOAD, str(folder), NAME]
        server.held = server.oid(large.read_bytes())
        first = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        assert server.holding.wait(60)
        while not server.received:  # the other large file
            time.sleep(0.01)
        first.kill()
        first.wait()
        assert set(server.files_of(NAME)) == {".gitattributes"}

        server.held = None
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        assert len(server.received) == 2  # each arrived once
        assert server.received[-1] == server.oid(large.read_bytes())
        assert content(Path(done.stdout.strip())) == content(folder)
        assert hub_server.TOKEN not in done.stdout + done.stderr
        puts = [line for line in server.requests if line.startswith("PUT")]
        assert len(puts) == 3


def test_private(hub, folder, monkeypatch):
    upload(folder, NAME, private=True)
    assert hub.repos[NAME]["private"]
    upload(folder, NAME, private=True)
    monkeypatch.delenv("HF_TOKEN")
    said = refused(fetch, NAME)
    assert said.startswith("there is no folder me/my-model, and no such model on the Hub")
    assert "hf auth login" in said
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    hub.repos[NAME]["private"] = False
    before = len(hub.requests)
    assert "is public: make it private" in refused(upload, folder, NAME, True)
    assert not any("commit" in line for line in hub.requests[before:])


def test_without_a_token_nothing_is_uploaded(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "the Hub refuses (401); log in with `hf auth login`" in refused(upload, folder, NAME)
    assert not hub.repos


def test_what_is_not_there(hub, folder, monkeypatch):
    assert "no such model on the Hub" in refused(fetch, NAME)
    upload(folder, NAME)
    assert refused(fetch, NAME, "v2") == "me/my-model has no revision v2"
    assert refused(pin, f"{NAME}@v2") == "me/my-model has no revision v2"
    assert "--revision v2: " in refused(fetch, folder, "v2")
    assert refused(fetch, f"{NAME}@v1", "v2").endswith("names a revision already")
    assert fetch("results/mini/1234") == Path("results/mini/1234")  # for the error of what opens it
    hub.shutdown()
    hub.server_close()
    assert refused(fetch, NAME).startswith(f"there is no folder {NAME}, and {hub.url} was not reached")


@pytest.mark.parametrize("name", ["model", "a/b/c", "me/my model", "me/..", "me/--x", "/abs", ""])
def test_names(name):
    assert refused(check_name, name) == (
        f"{name} is no USER/NAME of a model on the Hub, such as me/my-model"
    )
