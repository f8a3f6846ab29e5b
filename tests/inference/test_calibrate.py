"""What the calibration promises is what the exit then does."""

import json
import re
import shutil

import pytest
import torch

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.calibrate import calibrate
from speechbrain_recursive.inference.transcribe import RecursiveASR


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """The results folder of two steps, with random weights, whose loops differ by utterance."""
    folder = tmp_path_factory.mktemp("calibrate")
    for name in ("hyperparams.yaml", "tokenizer.json"):
        shutil.copy(trained / name, folder)
    shutil.copytree(trained / "manifests", folder / "manifests")
    torch.manual_seed(3)
    weights = torch.load(trained / "model.ckpt")
    noisy = {k: v + 0.5 * torch.randn_like(v) if v.dim() > 1 else v for k, v in weights.items()}
    torch.save(noisy, folder / "model.ckpt")
    return folder


def reschedule(folder, call):
    """Give a model of four layers another schedule."""
    path = folder / "hyperparams.yaml"
    new = rf"schedule: \1!apply:speechbrain_recursive.nn.schedule.{call}\n"
    old = r"^schedule: (&\w+ )!apply:.*\n(?: .*\n)+"
    text, n = re.subn(old, new, path.read_text(), flags=re.MULTILINE)
    assert n == 1
    path.write_text(text)


def _adaptive(folder):
    return RecursiveASR.from_hparams(folder, decoder="greedy", adaptive=True)


@pytest.fixture
def two_blocks(folder, tmp_path):
    """The same weights under a schedule whose phonetic and linguistic groups loop 4 and 3 times."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    reschedule(
        tmp_path, "bicycle {n_phonetic: 2, n_linguistic: 2, phonetic_loops: 4, linguistic_loops: 3}"
    )
    return tmp_path


@pytest.mark.parametrize("criterion", ["kl", "entropy"])
def test_two_blocks_end_rows_on_their_own(two_blocks, criterion):
    found = calibrate(two_blocks, criterion, allowed=50.0, split="train-clean-100")
    full, adaptive, blocks = found["full"], found["adaptive"], found["blocks"]
    assert full["depth"] == 9
    assert adaptive["depth"] < 9
    assert adaptive["wer"] <= full["wer"] + 50.0
    assert [(block["loops"], block["every"]) for block in blocks.values()] == [(4, 1), (3, 1)]

    transcriber = _adaptive(two_blocks)
    passes = {name: [] for name in blocks}
    for name, layer in zip(passes, transcriber.model.encoder.layers[1:3], strict=True):
        layer.register_forward_hook(lambda *_, seen=passes[name]: seen.append(1))
    triples = [
        (uid, row["wrd"].split(), transcriber.transcribe_file(row["wav"]).split())
        for uid, row in read_manifest(two_blocks / "manifests/train-clean-100.csv").items()
    ]
    for name, block in blocks.items():
        assert len(passes[name]) / len(triples) == pytest.approx(block["average"])
    averages = sum(block["average"] for block in blocks.values())
    assert adaptive["depth"] == pytest.approx(2 + averages)
    assert error_rate(triples).wer == pytest.approx(adaptive["wer"])
    assert found["fixed"]["below"]["depth"] <= adaptive["depth"] <= found["fixed"]["above"]["depth"]


def test_a_block_takes_no_more_than_its_share_of_the_loss(two_blocks):
    """The first of two blocks may use half of the allowed rise."""
    options = {"criterion": "kl", "split": "train-clean-100"}
    allowed = 3.0
    both = calibrate(two_blocks, allowed=allowed, **options)
    transcriber = _adaptive(two_blocks)
    for hook in transcriber.model.encoder.hooks["linguistic"]:
        hook.threshold = 0.0
    triples = [
        (uid, row["wrd"].split(), transcriber.transcribe_file(row["wav"]).split())
        for uid, row in read_manifest(two_blocks / "manifests/train-clean-100.csv").items()
    ]
    assert error_rate(triples).wer <= both["full"]["wer"] + allowed / 2


def test_a_schedule_without_recurrence_has_no_exit(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    reschedule(tmp_path, "standard {n: 4}")
    with pytest.raises(UserError, match="adaptive exit needs a block that recurs; 0-3 has none"):
        calibrate(tmp_path)


@pytest.mark.parametrize("criterion", ["kl", "cosine", "entropy"])
def test_the_exit_does_what_was_promised(folder, criterion):
    found = calibrate(folder, criterion, allowed=50.0, split="train-clean-100", loops=6)
    assert 1 <= found["adaptive"]["loops"] < 6
    assert found["adaptive"]["wer"] <= found["full"]["wer"] + 50.0

    transcriber = _adaptive(folder)
    passes = []
    first = transcriber.model.encoder.layers[1]
    first.register_forward_hook(lambda *_: passes.append(1))
    triples = [
        (uid, row["wrd"].split(), transcriber.transcribe_file(row["wav"], loops=6).split())
        for uid, row in read_manifest(folder / "manifests/train-clean-100.csv").items()
    ]
    assert len(passes) / len(triples) == pytest.approx(found["adaptive"]["loops"])
    assert error_rate(triples).wer == pytest.approx(found["adaptive"]["wer"])


def test_nothing_is_allowed_to_get_worse(folder):
    found = calibrate(folder, allowed=-1000.0)
    assert found["blocks"]["recurrent"]["threshold"] == 0.0
    assert found["adaptive"] == {"loops": 3.0, "wer": found["full"]["wer"]}


def test_fixed_counts_of_the_same_average(folder):
    found = calibrate(folder, allowed=50.0, split="train-clean-100", loops=6)
    fixed = found["fixed"]
    below, above = fixed["below"], fixed["above"]
    share = found["adaptive"]["loops"] - below["loops"]
    assert 0 <= share < 1
    assert fixed["wer"] == pytest.approx((1 - share) * below["wer"] + share * above["wer"])


def test_the_command(folder, capsys):
    assert main(["calibrate", str(folder), "--criterion", "entropy", "--allowed", "1"]) == 0
    assert "| full depth | 3 |" in capsys.readouterr().out
    assert json.loads((folder / "calibration.json").read_text())["criterion"] == "entropy"


def test_mistakes_are_one_line(folder, tmp_path, capsys):
    assert main(["calibrate", str(tmp_path)]) == 1
    assert "holds no finished run" in capsys.readouterr().err
    assert main(["calibrate", str(folder), "--criterion", "age"]) == 1
    assert "'age' is none of cosine, kl, entropy" in capsys.readouterr().err
    for loops in ("0", "-1"):
        assert main(["calibrate", str(folder), "--loops", loops]) == 1
        assert f"loops must be at least 1, got {loops}" in capsys.readouterr().err
    (folder / "calibration.json").unlink()
    with pytest.raises(UserError, match="run speechbrain-recursive calibrate"):
        _adaptive(folder)


def test_the_depth_of_the_calibration_travels_with_its_threshold(folder, librispeech, capsys):
    audio = str(next(librispeech.rglob("*.flac")))
    calibrate(folder, allowed=-1000.0, loops=5)  # no row leaves early
    for loops in (None, 5):
        transcriber, passes = _adaptive(folder), []
        transcriber.model.encoder.layers[1].register_forward_hook(lambda *_, seen=passes: seen.append(1))
        transcriber.transcribe_file(audio, loops)
        assert len(passes) == 5
    assert main(["transcribe", str(folder), audio, "--adaptive", "--loops", "4"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: --loops 4: adaptive exit was calibrated for 0 | (1-2)x5 | 3;")
    assert error.count("\n") == 1


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_calibration_is_one_line(folder, content):
    (folder / "calibration.json").write_bytes(content)
    with pytest.raises(UserError, match=r"calibration\.json is"):
        _adaptive(folder)
