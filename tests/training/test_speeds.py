"""Changes of speed in training: what model, loop policy and CTC loss are told, and resuming."""

import itertools
import math

import pytest
import torch

from speechbrain_recursive.nn.loops import LoopPolicy
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.training.asr import ASR

HALVED = "!new:speechbrain_recursive.training.augment.UtteranceSpeeds {orig_freq: 16000, speeds: [50]}"
DRAWN = HALVED.replace("50", "80, 125")


@pytest.fixture
def watched(monkeypatch):
    """Samples that were read, what ran, and the seconds and frames that policy and CTC were told."""
    seen = {"read": [], "samples": [], "frames": [], "seconds": []}
    forward, of_model, policy, ctc = ASR.forward, ASRModel.forward, LoopPolicy.__call__, CTC.forward

    def samples(wavs, wav_lens):
        return torch.round(wav_lens.double() * wavs.shape[1]).long().tolist()

    def reading(self, batch, training):
        seen["training"] = training
        if training:
            seen["read"] += samples(*batch.sig)
        return forward(self, batch, training)

    def running(self, wavs, wav_lens, *args, **kwargs):
        if seen.pop("training", False):
            seen["samples"] += samples(wavs, wav_lens)
            seen["frames"] += (1 + torch.tensor(samples(wavs, wav_lens)) // 160).tolist()
        return of_model(self, wavs, wav_lens, *args, **kwargs)

    def asked(self, schedule, step, total_steps, seconds):
        seen["seconds"] += seconds
        return policy(self, schedule, step, total_steps, seconds)

    def aligned(self, outputs, batch):
        if self.training:
            seen.setdefault("aligned", []).extend(outputs.frames.tolist())
        return ctc(self, outputs, batch)

    for owner, name, spy in (
        (ASR, "forward", reading),
        (ASRModel, "forward", running),
        (LoopPolicy, "__call__", asked),
        (CTC, "forward", aligned),
    ):
        monkeypatch.setattr(owner, name, spy)
    return seen


def test_everything_sees_the_speech_that_was_changed(mini, tmp_path, watched):
    mini(tmp_path, "speed_perturb", HALVED)
    assert watched["samples"] == [2 * count for count in watched["read"]]
    assert watched["seconds"] == pytest.approx([count / 16000 for count in watched["samples"]])
    halved = [math.ceil(frames / 2) for frames in watched["frames"]]
    assert watched["aligned"] == [math.ceil(frames / 2) for frames in halved]


def test_without_speeds_the_speech_is_as_it_was_read(mini, tmp_path, watched):
    mini(tmp_path)
    assert watched["samples"] == watched["read"]


def test_an_interrupted_run_draws_the_same_speeds(mini, tmp_path, watched, monkeypatch):
    more = ("speed_perturb", DRAWN, "ckpt_interval_minutes", 0, "ckpt_interval_steps", 1)
    mini(tmp_path / "whole", *more, "number_of_steps", 4)
    whole = list(watched["samples"])
    watched["samples"].clear()

    forward, batches = ASR.forward, itertools.count()

    def stop(self, batch, training):
        if training and next(batches) == 2:
            raise InterruptedError
        return forward(self, batch, training)

    with monkeypatch.context() as patch:
        patch.setattr(ASR, "forward", stop)
        with pytest.raises(InterruptedError):
            mini(tmp_path / "again", *more, "number_of_steps", 4)
    mini(tmp_path / "again", *more, "number_of_steps", 4)
    assert watched["samples"] == whole
    one, other = (torch.load(tmp_path / name / "model.ckpt") for name in ("whole", "again"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
