"""Audio block by block, so that memory does not grow with its length."""

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio

from speechbrain_recursive.data.audio import decode, segment
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file

BLOCK = 10  # seconds
CANCELLED = 0.01  # share of the channels' power below which their average has lost the speech

Audio = str | Path | io.IOBase


def blocks(audio: Audio, sample_rate: int = 16000, channel: int | None = None) -> Iterator[torch.Tensor]:
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
    torch.Tensor
        Shape [time], float32. One after another, they are what
        :func:`~speechbrain_recursive.data.audio.read_audio` reads.

    Raises
    ------
    UserError
        If there is no such file or channel, or it cannot be decoded or holds NaN.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".wav") as file:
    ...     soundfile.write(file.name, torch.rand(25 * 8000, 2).numpy(), 8000)
    ...     sum(map(len, blocks(file.name, 16000)))
    400000
    """
    with _open(audio) as file:
        signals = (torch.from_numpy(each).mean(dim=1) for each in _read(audio, file, channel))
        yield from resampled(signals, file.samplerate, sample_rate)


def resampled(signals: Iterable[torch.Tensor], old: int, new: int) -> Iterator[torch.Tensor]:
    """Resample a signal that comes in blocks, with the result of ``torchaudio`` for the whole.

    Arguments
    ---------
    signals : iterable of torch.Tensor
        Each [time].
    old, new : int
        Sample rates.

    Yields
    ------
    torch.Tensor
        Shape [time].
    """
    if old == new:
        yield from signals
        return
    common = math.gcd(old, new)
    old, new = old // common, new // common
    width = 6 * old / (0.99 * min(old, new))  # half of torchaudio's kernel, in samples
    reach = (math.ceil(width / old) + 1) * old
    held, done = torch.zeros(0), 0
    for signal in signals:
        held = torch.cat([held, signal])
        ready = (len(held) - reach) // old * old
        if ready > done:
            yield torchaudio.functional.resample(held, old, new)[done // old * new : ready // old * new]
            begin = max(0, ready - reach)
            held, done = held[begin:].clone(), ready - begin
    if len(held):
        yield torchaudio.functional.resample(held, old, new)[done // old * new :]


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
        return soundfile.SoundFile(audio)
    except soundfile.SoundFileError as error:
        raise _unreadable(audio, error) from None


def _read(audio, file, channel):
    """Samples [frames, channels] of an open file, block by block."""
    try:
        segment(file, None, None, channel)
        while len(samples := decode(file, BLOCK * file.samplerate, channel)):
            yield samples
    except (soundfile.SoundFileError, UserError) as error:
        raise _unreadable(audio, error) from None


def _unreadable(audio, error):
    name = audio if isinstance(audio, str | Path) else "-"
    reason = getattr(error, "error_string", error)  # libsndfile's, without the name of a file object
    return UserError(f"{name} cannot be read as audio: {reason}")
