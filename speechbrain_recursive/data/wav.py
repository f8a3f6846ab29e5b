"""WAV files where libsndfile is missing, as much of ``soundfile.SoundFile`` as this package uses."""

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = {1: "u1", 2: "<i2", 4: "<i4"}  # bytes of a sample


class SoundFileError(Exception):
    """The file cannot be read."""


class SoundFile:
    """A WAV file of 8, 16 or 32 bits, open for reading.

    Arguments
    ---------
    audio : str, pathlib.Path or file object
        The file.

    Raises
    ------
    SoundFileError
        If it is of another format.

    Attributes
    ----------
    samplerate, channels, frames : int
        What is in the file.
    subtype : str
        The encoding, as libsndfile calls it.
    """

    def __init__(self, audio: str | Path | io.IOBase):
        try:
            self._file = wave.open(str(audio) if isinstance(audio, Path) else audio, "rb")  # noqa: SIM115
        except (wave.Error, EOFError) as error:
            raise SoundFileError(f"{error}; without the package soundfile, only WAV is read") from None
        self._width = self._file.getsampwidth()
        if self._width not in WIDTHS:
            raise SoundFileError(f"{8 * self._width} bits; the package soundfile reads more formats")
        self.samplerate, self.channels = self._file.getframerate(), self._file.getnchannels()
        self.frames, self.subtype = self._file.getnframes(), f"PCM_{8 * self._width}"

    def __enter__(self) -> "SoundFile":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def seek(self, frame: int) -> None:
        """Go to a frame."""
        self._file.setpos(frame)

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next frames [frames, channels], float32 within [-1, 1]."""
        samples = np.frombuffer(self._file.readframes(frames), dtype=WIDTHS[self._width])
        full = 1 << (8 * self._width - 1)
        centered = samples.astype(np.float64) - full * (self._width == 1)
        return (centered / full).astype(np.float32).reshape(-1, self.channels)
