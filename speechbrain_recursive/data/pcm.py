"""Samples of open audio files, over NumPy."""

import numpy as np

try:
    from soundfile import SoundFile, SoundFileError
except ImportError:  # where an exported model runs on little more than NumPy
    from speechbrain_recursive.data.wav import SoundFile, SoundFileError

from speechbrain_recursive.errors import UserError

__all__ = ["LOUDEST", "SoundFile", "SoundFileError", "decode", "segment"]
FLOATS = ("FLOAT", "DOUBLE")  # libsndfile's names of the encodings that can hold NaN
LOUDEST = 2.0**31  # the largest sample of an integer format, should a file of floats hold such samples


def segment(audio: SoundFile, start: float | None, stop: float | None, channel: int | None) -> int:
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


def decode(audio: SoundFile, frames: int, channel: int | None, dtype: str = "float32") -> np.ndarray:
    """Decode the next frames of an open file.

    Arguments
    ---------
    audio : soundfile.SoundFile
        The open file.
    frames : int
        How many to read; a damaged file may give fewer.
    channel : int or None
        The channel to take, counted from 0; None for all.
    dtype : str
        Of the result. Files of floating-point samples are always read as ``"float32"``.

    Returns
    -------
    numpy.ndarray
        Shape [frames, channels].

    Raises
    ------
    UserError
        If a sample is NaN, infinite or beyond ``LOUDEST``, which features cannot be computed of.
    """
    floats = audio.subtype in FLOATS
    samples = audio.read(frames, dtype="float32" if floats else dtype, always_2d=True)
    if channel is not None:
        samples = samples[:, channel : channel + 1]
    if floats and not np.abs(samples).max(initial=0) <= LOUDEST:  # true of NaN
        raise UserError("samples are NaN, infinite or far too large")
    return samples
