"""Audio by blocks is the audio as a whole, whatever its rate and channels."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_recursive.data import blocks as module
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.blocks import blocks, channels_of
from speechbrain_recursive.errors import UserError


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100])
@pytest.mark.parametrize("seconds", [0.003, 0.5, 1.37])
def test_blocks_are_what_the_whole_file_is(tmp_path, monkeypatch, rate, seconds):
    monkeypatch.setattr(module, "BLOCK", 1)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(rate * seconds * 3), 2))
    soundfile.write(path := tmp_path / "a.wav", samples, rate)
    for channel in (None, 1):
        whole = read_audio(path, 16000, channel=channel)
        parts = torch.from_numpy(np.concatenate([*blocks(path, 16000, channel)]))
        assert parts.shape == whole.shape
        assert torch.allclose(parts, whole, atol=1e-5)


def test_a_block_is_no_longer_than_ten_seconds(tmp_path):
    soundfile.write(path := tmp_path / "a.wav", np.zeros(35 * 8000), 8000)
    assert max(map(len, blocks(path, 8000))) == 80_000


def test_channels_that_cancel_are_not_averaged(tmp_path):
    speech = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write(path := tmp_path / "a.wav", np.stack([speech * 0.9, -speech], 1), 16000)
    assert channels_of(path, "average") == (
        [1],
        "channels cancel each other out in their average; channel 1 is taken",
    )
    soundfile.write(path, np.stack([speech, 0 * speech], 1), 16000)
    assert channels_of(path, "average") == ([None], None)
    assert channels_of(path, "each") == ([0, 1], None)
    assert channels_of(path, 1) == ([1], None)


def test_a_channel_that_is_missing_is_named(tmp_path):
    soundfile.write(path := tmp_path / "a.wav", np.zeros(100), 16000)
    with pytest.raises(UserError, match=r"a\.wav cannot be .*: no channel 2, counted from 0, among 1"):
        list(blocks(path, 16000, 2))


def test_rates_that_share_nothing_are_refused_before_they_take_the_memory(tmp_path):
    soundfile.write(tmp_path / "odd.wav", np.zeros(100), 44101)
    with pytest.raises(UserError, match=r"odd.wav cannot be .*44101 Hz cannot be resampled to 16000 Hz"):
        list(blocks(tmp_path / "odd.wav", 16000))
