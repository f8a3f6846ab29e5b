import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.errors import UserError


def test_other_rates_and_channels(tmp_path):
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "two.wav", np.stack([0.8 * tone, 0.2 * tone], 1), 8000, subtype="FLOAT")
    signal = read_audio(tmp_path / "two.wav")
    assert signal.shape == (16000,)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(signal[200:-200], expected[200:-200], atol=2e-3)


def test_undecodable_audio_is_named(tmp_path):
    (tmp_path / "bad.flac").write_text("no audio")
    for name in ("bad.flac", "gone.flac"):
        with pytest.raises(UserError, match=f"{tmp_path / name} cannot be read"):
            read_audio(tmp_path / name)


@pytest.fixture
def two(tmp_path):
    """A telephone call: a file of two channels, 8 kHz, 3 s, and its samples of shape [time, 2]."""
    samples = np.random.default_rng(0).uniform(-1, 1, (24000, 2))
    soundfile.write(tmp_path / "two.wav", samples, 8000, subtype="PCM_16")
    return tmp_path / "two.wav", soundfile.read(tmp_path / "two.wav", dtype="float32")[0]


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(
    ("start", "stop", "frames"),
    [
        (0.5, 1.25, slice(4000, 10000)),
        (0.50006, 1.2499, slice(4000, 9999)),
        (None, 1.0, slice(0, 8000)),
        (2.0, None, slice(16000, 24000)),
        (None, None, slice(0, 24000)),
    ],
)
def test_a_segment_of_a_channel_is_the_slice(two, channel, start, stop, frames):
    path, samples = two
    signal = read_audio(path, 8000, start, stop, channel)
    np.testing.assert_array_equal(signal, samples[frames, channel])


def test_a_segment_of_all_channels_is_their_mean(two):
    path, samples = two
    np.testing.assert_array_equal(
        read_audio(path, 8000, start=1.0, stop=2.0), samples[8000:16000].mean(axis=1)
    )


def test_a_segment_is_resampled(two):
    path, _ = two
    assert read_audio(path, 16000, 1.0, 2.0, 1).shape == (16000,)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"start": 2.0, "stop": 3.5}, r"no segment from 2 s to 3\.5 s in 3\.00 s of audio"),
        ({"start": 2.0, "stop": 1.0}, "no segment from 2 s to 1 s"),
        ({"start": 4.0}, "no segment from 4 s to its end"),
        ({"start": -1.0}, "no segment from -1 s"),
        ({"channel": 2}, "no channel 2, counted from 0, among 2"),
        ({"channel": -1}, "no channel -1"),
    ],
)
def test_what_the_file_does_not_contain_is_named(two, where, message):
    with pytest.raises(UserError, match=f"{two[0]} cannot be read as audio: {message}"):
        read_audio(two[0], 8000, **where)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_audio_that_is_no_numbers_is_named(tmp_path, value):
    samples = np.zeros((8000, 2))
    samples[100, 1] = value
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    with pytest.raises(UserError, match=f"{path} cannot be read as audio: samples are NaN, infinite"):
        read_audio(path)
    assert not read_audio(path, start=0.1).any()
    assert not read_audio(path, channel=0).any()
