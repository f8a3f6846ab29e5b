"""Audio files as tensors: whole, or a segment and a channel of one."""

from pathlib import Path

import soundfile
import torch
import torchaudio

from speechbrain_recursive.data.pcm import decode, segment
from speechbrain_recursive.errors import UserError


def read_audio(
    path: str | Path,
    sample_rate: int = 16000,
    start: float | None = None,
    stop: float | None = None,
    channel: int | None = None,
) -> torch.Tensor:
    """Read any file that libsndfile supports, as one channel at one rate.

    Arguments
    ---------
    path : str or Path
        An audio file. Other rates are resampled.
    sample_rate : int
        Sample rate of the result, in Hz.
    start, stop : float, optional
        Read this segment alone, in seconds; by default from the beginning, and to the end.
    channel : int, optional
        Read this channel alone, counted from 0; by default channels are averaged.

    Returns
    -------
    torch.Tensor
        Shape [time], float32, within [-1, 1].

    Raises
    ------
    UserError
        If the file cannot be decoded, holds NaN, or does not contain the segment or the channel.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".wav") as file:
    ...     soundfile.write(file.name, torch.rand(16000, 2).numpy(), 8000)
    ...     read_audio(file.name, 16000, start=0.5, stop=1.0, channel=1).shape
    torch.Size([8000])
    """
    try:
        with soundfile.SoundFile(path) as audio:
            rate = audio.samplerate
            samples = decode(audio, segment(audio, start, stop, channel), channel)
    except (soundfile.SoundFileError, UserError) as error:
        raise UserError(f"{path} cannot be read as audio: {error}") from None
    signal = torch.from_numpy(samples).mean(dim=1)
    return signal if rate == sample_rate else torchaudio.functional.resample(signal, rate, sample_rate)
