"""What a results folder must hold, for every command that opens one."""

import json
import shutil
from functools import partial
from types import SimpleNamespace

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.subwords import SentencePieceTokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.results import depth_for, median_paths
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import unfold


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
        "transcribe": ["transcribe", str(folder), audio],
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


def test_a_depth_that_cannot_be(refused, folder):
    lacks = "--depth 7: no path of the schedule 0 | (1-2)x1 | 3 has depth 7; the nearest: 6, 8"
    assert lacks in refused("--depth", "7")
    assert "--loops 2 and --depth 6: give one of them" in refused("--depth", "6", "--loops", "2")
    (folder / "median_paths.json").write_text('{"paths": {"6": {"middle": 2}}}')
    assert f"{folder / 'median_paths.json'} holds no paths of this model" in refused("--depth", "6")


@pytest.mark.parametrize(
    "text", ['{"paths": {"6": {"layer0": 3}}}', '{"paths": {"six": {}}}', '{"paths": [6]}', "{}", "["]
)
def test_damaged_paths(tmp_path, text):
    (tmp_path / "median_paths.json").write_text(text)
    with pytest.raises(UserError, match=f"is damaged: run .* analyze paths {tmp_path}$"):
        median_paths(tmp_path, unfold(4, 12))


def test_a_stored_path_is_taken(tmp_path):
    schedule = unfold(4, 12)
    model = SimpleNamespace(schedule=schedule, depth=partial(Depth.of, schedule))
    assert depth_for(model, depth=6, folder=tmp_path) == Depth(unfold(4, 6))
    counts = {"layer1": 2, "layer3": 2, "layer0": 1, "layer2": 1}
    (tmp_path / "median_paths.json").write_text(json.dumps({"paths": {"6": counts}}))
    assert depth_for(model, depth=6, folder=tmp_path) == Depth(unfold(4, 6, path=(1, 3)))
    assert depth_for(model, depth=8, folder=tmp_path) == Depth(unfold(4, 8))
    assert depth_for(model, folder=tmp_path) == Depth(schedule)
    assert depth_for(model, loops=2, folder=tmp_path) == Depth(unfold(4, 8))
