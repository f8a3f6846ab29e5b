"""Any audio file becomes text at any depth, and what is no audio is named."""

import json

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.dataset import read_audio
from speechbrain_recursive.inference.transcribe import Transcriber


@pytest.fixture
def transcribe(capsys):
    """``transcribe(folder, files, *options)``: the command's exit code, its output lines, its error."""

    def run(folder, files, *options):
        code = main(["transcribe", *map(str, files), "--model", str(folder), *options])
        out, error = capsys.readouterr()
        return code, out.splitlines(), error

    return run


@pytest.fixture(scope="module")
def talkative(trained, tmp_path_factory):
    """The results folder with random weights in place of two steps' ones, which only say blanks."""
    folder = tmp_path_factory.mktemp("talkative")
    for name in ("hyperparams.yaml", "tokenizer.json"):
        (folder / name).write_bytes((trained / name).read_bytes())
    torch.manual_seed(3)
    weights = torch.load(trained / "model.ckpt")
    torch.save(
        {k: v + torch.randn_like(v) if v.dim() > 1 else v for k, v in weights.items()},
        folder / "model.ckpt",
    )
    return folder


@pytest.fixture(scope="module")
def speech(librispeech):
    return sorted(librispeech.glob("LibriSpeech/test-clean/*/*/*.flac"))


def test_text_is_that_of_the_evaluation(trained, librispeech, speech, transcribe):
    code, lines, _ = transcribe(trained, speech)
    assert code == 0
    rows = json.loads((trained / "hypotheses.json").read_text())
    greedy = {row["id"]: row["hypothesis"] for row in rows if row["decoder"] == "greedy"}
    assert lines == [f"{path}\t{greedy[path.stem]}" for path in speech]


def test_loops_change_the_text(talkative, speech, transcribe):
    texts = [
        transcribe(talkative, speech, *loops)[1]
        for loops in ([], ["--loops", "3"], ["--loops", "1"], ["--loops", "4"], ["--depth", "10"])
    ]
    assert texts[0] == texts[1]  # the count trained for
    assert texts[3] == texts[4]  # four loops of two layers, between two others
    assert len({tuple(lines) for lines in texts}) == 3
    assert all(line.split("\t")[1] for line in texts[0])


def test_rates_channels_and_formats(talkative, speech, transcribe, tmp_path):
    samples, rate = soundfile.read(speech[0])
    soundfile.write(tmp_path / "same.wav", np.stack([samples, samples], 1), rate, subtype="PCM_16")
    soundfile.write(tmp_path / "slow.wav", np.stack([samples[::2]] * 2, 1), rate // 2)
    soundfile.write(tmp_path / "lossy.mp3", samples, rate)
    files = [speech[0], *(tmp_path / name for name in ("same.wav", "slow.wav", "lossy.mp3"))]
    code, lines, _ = transcribe(talkative, files)
    assert code == 0
    texts = [line.split("\t")[1] for line in lines]
    assert texts[0] == texts[1]
    assert all(texts)
    assert all(len(read_audio(path)) == pytest.approx(len(samples), rel=0.05) for path in files)


@pytest.mark.parametrize("samples", [1, 100, 401, 1000])
def test_very_short_audio_is_no_error(talkative, transcribe, tmp_path, samples):
    soundfile.write(tmp_path / "short.wav", np.zeros(samples), 16000)
    assert transcribe(talkative, [tmp_path / "short.wav"])[0] == 0


def test_the_result_does_not_depend_on_what_was_transcribed_before(talkative, speech):
    transcriber = Transcriber(talkative)
    alone = transcriber(speech[1])
    transcriber(speech[0], loops=5)
    assert transcriber(speech[1]) == alone


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("gone.flac", None, [], "gone.flac does not exist"),
        ("text.wav", b"no audio at all", [], "text.wav cannot be read as audio"),
        ("empty.wav", b"", [], "empty.wav cannot be read as audio"),
        ("silent.wav", np.zeros(0), [], "silent.wav holds no audio"),
        (
            "good.wav",
            np.zeros(8000),
            ["--loops", "0"],
            "--loops 0: block 'recurrent': loops must be at least 1, got 0",
        ),
        ("good.wav", np.zeros(8000), ["--loops", "-1"], "loops must be at least 1, got -1"),
    ],
)
def test_mistakes_are_one_line(trained, transcribe, tmp_path, name, content, options, said):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        soundfile.write(tmp_path / name, content, 16000)
    code, _, error = transcribe(trained, [tmp_path / name], *options)
    assert code == 1
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_without_a_run_is_named(tmp_path, speech, transcribe):
    code, _, error = transcribe(tmp_path, speech)
    assert code == 1
    assert error == f"error: {tmp_path} holds no finished run: there is no model.ckpt\n"


def test_a_language_model_is_no_asr_model(lm, speech, transcribe):
    code, _, error = transcribe(lm, speech)
    assert code == 1
    assert "holds TransformerLM, not ASRModel" in error
    assert error.count("\n") == 1


def test_a_bad_file_does_not_stop_the_others(talkative, speech, transcribe, tmp_path):
    samples = np.zeros(8000)
    samples[100] = np.nan
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    expected = transcribe(talkative, speech)[1]
    code, lines, error = transcribe(talkative, [speech[0], tmp_path / "bad.wav", tmp_path, *speech[1:]])
    assert code == 1
    assert lines == expected
    first, second = error.splitlines()
    assert first.startswith(f"error: {tmp_path / 'bad.wav'} cannot be read as audio: samples are NaN")
    assert second == f"error: {tmp_path} is a folder, not a file"


def test_silence_is_named(talkative, speech, transcribe, tmp_path, caplog):
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    assert transcribe(talkative, [speech[0], tmp_path / "silent.wav"])[0] == 0
    assert caplog.messages == [f"{tmp_path / 'silent.wav'} is silent"]
