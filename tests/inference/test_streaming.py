"""A stream ends with the text of the whole recording under the mask of its chunks."""

import io
import json
import sys

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import merge
from speechbrain_recursive.inference.streaming import StreamingASR
from speechbrain_recursive.inference.transcribe import RecursiveASR


@pytest.fixture(scope="module")
def speech(librispeech):
    return sorted(librispeech.glob("LibriSpeech/test-clean/*/*/*.flac"))


def test_statistics_are_those_of_the_training_data(streamer, librispeech):
    weights = torch.load(streamer / "model.ckpt")
    asr = StreamingASR.from_hparams(streamer)
    features = [
        asr.model.embed.compute_features(
            torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
        )
        for path in sorted(librispeech.glob("LibriSpeech/train-clean-100/*/*/*.flac"))
    ]
    whole = torch.cat(features, 1)[0]
    torch.testing.assert_close(weights["embed.normalize.mean"], whole.mean(0), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(weights["embed.normalize.std"], whole.std(0), atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("decoder", ["greedy", "ngram"])
def test_a_stream_is_the_masked_recording(streamer, speech, decoder):
    whole = RecursiveASR.from_hparams(streamer, decoder=decoder)
    live = StreamingASR.from_hparams(streamer, decoder=decoder)
    assert (live.config.chunk_size, live.config.left_context_size) == (16, 4)
    for path in speech:
        samples = soundfile.read(path, dtype="float32")[0]
        for loops in (1, 3, 6):
            (expected,) = whole.transcribe([samples], loops)
            stream, texts = live.start(loops), []
            for piece in np.split(samples, range(3000, len(samples), 3000)):
                texts.append(stream.feed(piece).text)
            found = stream.finish()
            assert found.text == expected.text
            assert [word[:3] for word in found.words] == [word[:3] for word in expected.words]
            sure = [[word.confidence for word in each.words] for each in (found, expected)]
            assert sure[0] == pytest.approx(sure[1], abs=1e-4)
            assert found.seconds == pytest.approx(len(samples) / 16000)
        if decoder == "greedy":
            assert expected.text
            assert len(set(texts)) > 2  # it is heard as it comes


def test_the_command(streamer, speech, capsys, monkeypatch, tmp_path):
    files = [str(path) for path in speech]
    assert main(["transcribe", str(streamer), *files, "--streaming", "--decoder", "greedy"]) == 0
    streamed = capsys.readouterr().out
    assert main(["transcribe", str(streamer), *files, "--decoder", "greedy"]) == 0
    assert capsys.readouterr().out == streamed
    assert (
        main(["transcribe", str(streamer), files[0], "--streaming", "--chunk_size", "4", "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["words"]
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    (tmp_path / "bad.wav").write_text("no audio")
    assert main(["transcribe", str(streamer), str(tmp_path / "bad.wav"), files[0], "--streaming"]) == 1
    assert "bad.wav cannot be read as audio" in terminal.getvalue()
    assert terminal.getvalue().count("\r") > 10


@pytest.mark.parametrize("pause", [0, 20])
def test_long_speech_ends_at_pauses_or_between_words(streamer, pause):
    asr = StreamingASR.from_hparams(streamer, decoder="greedy")
    asr.durations = Durations(0.1, 1.0, 2.0)  # 50 frames
    text = "AN OLD MAN SOLD THE RED WAGON" + " AND THE RED BOAT" * 20
    path = [0]
    for token in asr.tokenizer.encode(text):
        path += [token, token, 0] + pause * (asr.tokenizer.pieces[token] == "|") * [0]
    log_probs = 9 * torch.eye(len(asr.tokenizer))[path]
    stream = asr.start()
    monkey = iter(log_probs.log_softmax(-1).split(7))
    stream.model.feed = lambda _: next(monkey)
    stream.model.finish = lambda: log_probs[:0]
    stream.samples, held = 16000 * 3600, []
    for _ in range(0, len(path), 7):
        assert text.startswith(stream.feed(np.zeros(0)).text.rpartition(" ")[0])
        held.append(len(stream.log_probs))
    assert max(held) < (90 if pause else 160)
    found = stream.finish()
    assert found.text == text
    starts = [word.start for word in found.words]
    assert starts == sorted(starts)
    assert starts[-1] > (len(path) - 40 - pause) * asr.frame_seconds


def test_what_is_refused(streamer, trained):
    for options, said in (
        ({"decoder": "joint"}, "--decoder joint"),
        ({"chunk_size": 0}, "a chunk has a frame at least"),
        ({"left_context": 0}, "a chunk has a frame at least"),
    ):
        with pytest.raises(UserError, match=said):
            StreamingASR.from_hparams(streamer, **options)
    with pytest.raises(UserError, match="the model cannot stream: its layers attend to the whole"):
        StreamingASR.from_hparams(trained)
    with pytest.raises(UserError, match="samples are NaN"):
        StreamingASR.from_hparams(streamer).start().feed(np.array([0.0, np.nan]))


def test_chunks_of_evaluation_are_those_of_the_report(streamer):
    tree = merge(streamer / "hyperparams.yaml", trust=False)
    assert tree["dynamic_chunks"]["test_config"]["chunk_size"] == 16
