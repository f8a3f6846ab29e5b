"""Audio block by block, so that memory does not grow with its length."""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speechbrain_recursive.data.pcm import SoundFile, SoundFileError, decode, segment
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file

BLOCK = 10  # seconds
KERNELS = 2**24  # coefficients of a resampling filter
CANCELLED = 0.01  # share of the channels' power below which their average has lost the speech

Audio = str | Path | io.IOBase


def blocks(audio: Audio, sample_rate: int = 16000, channel: int | None = None) -> Iterator[np.ndarray]:
    """Read a file of any length, format, rate and number of channels.

    Arguments
    ---------
    audio : str, pathlib.Path or file object
        A path, or a binary file that can seek.
    sample_rate : int
        Sample rate of the result, in Hz.
    channel : int, optional
        Read this channel alone, counted from 0; by default channels are averaged.

    Yields
    ------
    numpy.ndarray
        Shape [time], float32. One after another, they are what
        :func:`~speechbrain_recursive.data.audio.read_audio` reads.

    Raises
    ------
    UserError
        If there is no such file or channel, or it cannot be decoded or holds NaN.

    Example
    -------
    >>> import soundfile, tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".wav") as file:
    ...     soundfile.write(file.name, np.zeros((25 * 8000, 2)), 8000)
    ...     sum(map(len, blocks(file.name, 16000)))
    400000
    """
    with _open(audio) as file:
        try:
            resampler = Resampler(file.samplerate, sample_rate)
        except UserError as error:
            raise _unreadable(audio, error) from None
        for samples in _read(audio, file, channel):
            if len(found := resampler.feed(samples.mean(1))):
                yield found
        if len(found := resampler.finish()):
            yield found


class Resampler:
    """Resamples a signal that is fed in blocks, with the result of ``torchaudio`` for the whole.

    Arguments
    ---------
    old, new : int
        Sample rates.

    Raises
    ------
    UserError
        If the rates differ and ``torchaudio`` is not installed, or they have so little in common that
        its filters would take gigabytes.

    Example
    -------
    >>> resampler = Resampler(8000, 16000)
    >>> [len(resampler.feed(np.zeros(800, dtype=np.float32))), len(resampler.finish())]
    [1584, 16]
    """

    def __init__(self, old: int, new: int):
        common = math.gcd(old, new)
        self._old, self._new = old // common, new // common
        width = 6 * self._old / (0.99 * min(self._old, self._new))  # half of torchaudio's kernel
        self._reach = (math.ceil(width / self._old) + 1) * self._old
        self._held, self._done = np.zeros(0, dtype=np.float32), 0
        if old != new:
            if self._new * (self._old + 2 * width) > KERNELS:
                raise UserError(
                    f"{old} Hz cannot be resampled to {new} Hz: convert it to a usual rate first"
                )
            self._resample = _resampler(old, new)

    def feed(self, signal: np.ndarray) -> np.ndarray:
        """Take a block [time]; returns what of the result [time] no later block changes."""
        if self._old == self._new:
            return signal
        self._held = np.concatenate([self._held, signal])
        ready = (len(self._held) - self._reach) // self._old * self._old
        if ready <= self._done:
            return self._held[:0]
        found = self._resampled()[self._at(self._done) : self._at(ready)]
        begin = max(0, ready - self._reach)
        self._held, self._done = self._held[begin:].copy(), ready - begin
        return found

    def finish(self) -> np.ndarray:
        """The rest of the result [time]."""
        return self._resampled()[self._at(self._done) :] if len(self._held) else self._held

    def _resampled(self):
        return self._resample(self._held, self._old, self._new)

    def _at(self, sample):
        return sample // self._old * self._new


def _resampler(old, new):
    try:
        import torch
        from torchaudio.functional import resample
    except ImportError:
        raise UserError(
            f"the audio has {old} samples a second, the model takes {new}: resample it, or install "
            "torchaudio"
        ) from None
    return lambda signal, *rates: resample(torch.from_numpy(signal), *rates).numpy()


def channels_of(audio: Audio, wanted: str | int) -> tuple[list[int | None], str | None]:
    """What to read of a file's channels.

    Arguments
    ---------
    audio : str, pathlib.Path or file object
        As :func:`blocks` takes it.
    wanted : str or int
        ``average``, ``each``, or a channel counted from 0.

    Returns
    -------
    list of (int or None)
        What to give :func:`blocks`, one run each. Where channels cancel each other out, the loudest
        stands for their average.
    str or None
        What the user should know.

    Raises
    ------
    UserError
        If :func:`blocks` would raise it.
    """
    with _open(audio) as file:
        if wanted == "each":
            return list(range(file.channels)), None
        if wanted != "average" or file.channels == 1:
            return [None if wanted == "average" else wanted], None
        powers, mixed = np.zeros(file.channels), 0.0
        for samples in _read(audio, file, None):
            powers += np.square(samples, dtype=np.float64).sum(0)
            mixed += np.square(samples.mean(1), dtype=np.float64).sum()
    if mixed >= CANCELLED * powers.mean():
        return [None], None
    loudest = int(powers.argmax())
    return [loudest], f"channels cancel each other out in their average; channel {loudest} is taken"


def _open(audio):
    if isinstance(audio, str | Path):
        check_file(audio)
    else:
        audio.seek(0)
    try:
        return SoundFile(audio)
    except SoundFileError as error:
        raise _unreadable(audio, error) from None


def _read(audio, file, channel):
    """Samples [frames, channels] of an open file, block by block."""
    try:
        segment(file, None, None, channel)
        while len(samples := decode(file, BLOCK * file.samplerate, channel)):
            yield samples
    except (SoundFileError, UserError) as error:
        raise _unreadable(audio, error) from None


def _unreadable(audio, error):
    name = audio if isinstance(audio, str | Path) else "-"
    reason = getattr(error, "error_string", error)  # libsndfile's, without the name of a file object
    return UserError(f"{name} cannot be read as audio: {reason}")
