"""Audio files: whole, or a segment and a channel of one."""

from pathlib import Path

import soundfile
import torch
import torchaudio

from speechbrain_recursive.errors import UserError


def segment(
    audio: soundfile.SoundFile, start: float | None, stop: float | None, channel: int | None
) -> int:
    """Go to the beginning of a segment of an open file.

    Arguments
    ---------
    audio : soundfile.SoundFile
        The open file.
    start, stop : float or None
        Borders of the segment in seconds; None for those of the file.
    channel : int or None
        A channel that the file should have, counted from 0.

    Returns
    -------
    int
        The number of frames to read.

    Raises
    ------
    UserError
        If the file does not contain the segment or the channel.
    """
    first = round((start or 0) * audio.samplerate)
    frames = (audio.frames if stop is None else round(stop * audio.samplerate)) - first
    if not 0 <= first <= first + frames <= audio.frames:
        end = "its end" if stop is None else f"{stop:g} s"
        seconds = audio.frames / audio.samplerate
        raise UserError(f"no segment from {start or 0:g} s to {end} in {seconds:.2f} s of audio")
    if channel is not None and not 0 <= channel < audio.channels:
        raise UserError(f"no channel {channel}, counted from 0, among {audio.channels}")
    if first:
        audio.seek(first)
    return frames


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
        If the file cannot be decoded, or does not contain the segment or the channel.

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
            frames = segment(audio, start, stop, channel)
            samples = audio.read(frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, UserError) as error:
        raise UserError(f"{path} cannot be read as audio: {error}") from None
    signal = torch.from_numpy(samples)
    signal = signal.mean(dim=1) if channel is None else signal[:, channel]
    return signal if rate == sample_rate else torchaudio.functional.resample(signal, rate, sample_rate)
