"""What a person can get wrong is one line that names it, not a traceback."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes/LibriSpeech"


@pytest.fixture
def own(librispeech, tmp_path):
    """A copy of the corpus, to damage."""
    shutil.copytree(librispeech, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def refused(mini, tmp_path):
    """``refused(*options)``: what the mini recipe says when it refuses to run."""

    def run(*options, folder=tmp_path / "run"):
        with pytest.raises(SystemExit) as caught:
            mini(folder, *options)
        said = caught.value.code
        assert said.startswith("error: ")
        assert "\n" not in said
        return said

    return run


def first(corpus, pattern):
    return min((corpus / "LibriSpeech").glob(pattern))


def test_a_folder_without_the_corpus(refused, tmp_path):
    said = refused("data_folder", tmp_path / "nothing")
    assert f"no LibriSpeech split 'train-clean-100': looked for {tmp_path / 'nothing'}" in said
    assert "--data_folder" in said
    assert "--download True" in said


def test_a_transcript_without_its_audio(refused, own):
    audio = first(own, "dev-clean/*/*/*.flac")
    audio.unlink()
    said = refused("data_folder", own)
    assert f"{audio}, is missing" in said
    assert ".trans.txt, line 1:" in said


def test_audio_without_a_transcript(refused, own):
    text = first(own, "train-clean-100/*/*/*.trans.txt")
    lines = text.read_text().splitlines()
    text.write_text("\n".join(lines[1:]) + "\n" if lines[1:] else "")
    said = refused("data_folder", own)
    assert f"{lines[0].split()[0]}.flac has no transcript: {text} has no line for it" in said


def test_corrupt_audio_in_a_test_set_unless_it_may_count_as_deletions(refused, mini, own, tmp_path):
    audio = first(own, "test-clean/*/*/*.flac")
    words = len(audio.parent.joinpath(f"{audio.stem[:-5]}.trans.txt").read_text().split()) - 1
    audio.write_bytes(b"no audio")
    said = refused("data_folder", own)
    assert str(audio) in said
    assert "--bad_test_audio empty" in said
    mini(tmp_path / "run", "data_folder", own, "bad_test_audio", "empty")
    rows = json.loads((tmp_path / "run/hypotheses.json").read_text())
    lost = [row for row in rows if row["id"] == audio.stem]
    assert len(lost) == 3
    assert all(row["hypothesis"] == "" and len(row["reference"].split()) == words for row in lost)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("n_loops", 3), "mini.yaml has no key 'n_loops' to override; did you mean --loops?"),
        (("loops", 0), "mini.yaml: block 'recurrent': loops must be at least 1, got 0"),
        (("loops", "[1"), "the overrides are no valid YAML: line"),
        (("eval_loops", "[1, 0]"), "eval_loops: block 'recurrent': loops must be at least 1, got 0"),
        (("n_tokens", 40), "n_tokens is 40, the tokeniser has 32 pieces"),
        (("nhead", 5), "mini.yaml: embed_dim must be divisible by num_heads"),
        (("train_splits", "[]"), "train_splits names no split"),
        (("warm_start", "gone.ckpt"), "gone.ckpt"),
        (("lm", "gone"), "no tokeniser at gone"),
        (("bad_test_audio", "keep"), "bad_test_audio must be 'refuse' or 'empty', not 'keep'"),
    ],
)
def test_a_setting_that_cannot_work(refused, options, said):
    assert said in refused(*options)


def test_a_full_size_recipe_says_what_it_must_be_given(run_recipe):
    with pytest.raises(SystemExit, match=r"leaves data_folder open: give it with --data_folder$"):
        run_recipe([RECIPE / "hparams/transformer_latent.yaml"])


def test_a_missing_yaml_file(run_recipe, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*gone\.yaml is not there$"):
        run_recipe([tmp_path / "gone.yaml"])


@pytest.fixture
def finished(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "finished")
    return tmp_path / "finished"


def test_checkpoints_that_are_all_damaged(refused, finished):
    for checkpoint in (finished / "save").iterdir():
        (checkpoint / "model.ckpt").write_bytes(b"cut")
    said = refused(folder=finished)
    assert said.startswith(f"error: {finished / 'save'}: every checkpoint is damaged; delete the folder")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("loops", 2), ["0 | (1-2)x3 | 3", "0 | (1-2)x2 | 3", "choose another output folder"]),
        (("d_model", 32), ["size mismatch", "choose another output folder"]),
        (("num_decoder_layers", 2), ["transformer.decoder.layers.1", "choose another output folder"]),
    ],
)
def test_checkpoints_of_another_model(refused, finished, options, words):
    before = contents(finished)
    said = refused(*options, folder=finished)
    assert f"{finished / 'save'}/CKPT+" in said
    assert all(word in said for word in words)
    assert contents(finished) == before


def contents(folder):
    """What `transcribe` needs of a results folder."""
    return [
        (folder / name).read_bytes() for name in ("hyperparams.yaml", "tokeniser.json", "model.ckpt")
    ]


def test_the_command_line_prints_one_line_and_fails(tmp_path):
    words = ["--data_folder", tmp_path / "nothing", "--output_folder", tmp_path / "run"]
    process = subprocess.run(
        [sys.executable, RECIPE / "train.py", RECIPE / "hparams/mini.yaml", *words, "--device", "cpu"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stdout + process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert str(tmp_path / "nothing") in lines[0]
    assert process.stderr.rstrip().endswith(lines[0])
