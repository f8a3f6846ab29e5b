"""What a results folder must hold, for every command that opens one."""

import json
import shutil

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.subwords import SentencePieceTokenizer


@pytest.fixture
def folder(trained, tmp_path):
    for name in ("hyperparams.yaml", "tokenizer.json", "model.ckpt"):
        shutil.copy(trained / name, tmp_path)
    shutil.copytree(trained / "manifests", tmp_path / "manifests")
    return tmp_path


@pytest.fixture(params=["transcribe", "calibrate", "similarity"])
def refused(request, folder, librispeech, capsys):
    """``refused()``: what a command says when it refuses the folder."""
    audio = str(next(librispeech.rglob("*.flac")))
    command = {
        "transcribe": ["transcribe", audio, "--model", str(folder)],
        "calibrate": ["calibrate", str(folder)],
        "similarity": ["analyze", "similarity", str(folder), "--utterances", "1"],
    }[request.param]

    def run(*options):
        assert main([*command, *options]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return run


@pytest.mark.parametrize("alphabet", ["AB", "ABCDEFGHIJKLMNOPQRSTUVWXYZ'!"])
def test_a_tokenizer_of_another_size(folder, refused, alphabet):
    tokenizer = CharacterTokenizer(alphabet)
    tokenizer.save(folder / "tokenizer.json")
    pieces = f"{folder / 'tokenizer.json'} has {len(tokenizer)} pieces, but the model has 32 outputs"
    assert pieces in refused()


def damaged_model(model):
    def change(folder):
        path = folder / "tokenizer.json"
        SentencePieceTokenizer.from_texts(["THE CAT", "THE HAT"], 11).save(path)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model": model}))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer at "),
        (lambda f: (f / "tokenizer.json").write_bytes(b"\xff{}"), "is not UTF-8 text (byte 0)"),
        (damaged_model(""), "is not a tokenizer of this package, or it is damaged"),
        (damaged_model("AAECAwQF"), "is not a tokenizer of this package, or it is damaged"),
        (damaged_model("A"), "is not a tokenizer of this package, or it is damaged"),
        (lambda f: (f / "hyperparams.yaml").write_bytes(b"a: caf\xe9"), "is not UTF-8 text (byte 6)"),
        (lambda f: (f / "model.ckpt").unlink(), "holds no finished run"),
        (lambda f: (f / "model.ckpt").write_bytes(b"cut"), "model.ckpt holds no weights"),
    ],
)
def test_a_damaged_folder(folder, refused, change, said):
    change(folder)
    assert said in refused()


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there(refused, device):
    error = refused("--device", device)
    assert error.startswith(f"error: --device {device}: ")
    assert error.endswith("; try --device cpu\n")


@pytest.mark.parametrize("loops", ["0", "-3"])
def test_a_loop_count_that_cannot_be(refused, loops):
    assert f"loops must be at least 1, got {loops}" in refused("--loops", loops)
