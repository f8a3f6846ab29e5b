"""Headers of NIST SPHERE files.

libsndfile reads the samples. It takes a file that was cut short for a shorter one; the header says more.
"""

from pathlib import Path
from typing import NamedTuple

import soundfile

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file


class Sphere(NamedTuple):
    """What a header says.

    ``frames`` are samples of each of the ``channels``, at ``rate`` Hz.
    """

    frames: int
    channels: int
    rate: int

    @property
    def duration(self) -> float:
        """In seconds."""
        return self.frames / self.rate


def read_header(path: str | Path) -> Sphere:
    """Read the header of a SPHERE file as :func:`read_sphere` does, or that of WAV or FLAC.

    Raises
    ------
    UserError
        If :func:`read_sphere` raises it, or libsndfile cannot read the file.
    """
    if Path(path).suffix.lower() == ".sph":
        return read_sphere(path)
    try:
        found = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} cannot be read as audio: {error}") from None
    return Sphere(found.frames, found.channels, found.samplerate)


def read_sphere(path: str | Path) -> Sphere:
    """Read the header of a file, and check that all of its samples are there.

    Arguments
    ---------
    path : str or Path
        A SPHERE file that is not compressed.

    Returns
    -------
    Sphere

    Raises
    ------
    UserError
        If the file is missing, is no SPHERE file, is compressed or was cut short.

    Example
    -------
    >>> import numpy, soundfile, tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".sph") as file:
    ...     soundfile.write(file.name, numpy.zeros((4000, 2)), 8000, format="NIST", subtype="ULAW")
    ...     read_sphere(file.name)
    Sphere(frames=4000, channels=2, rate=8000)
    """
    path = check_file(path)
    with open(path, "rb") as file:
        try:
            kind, size = file.readline(), int(file.readline())
            fields = dict(_fields(file.read(size - file.tell()).decode("latin-1").splitlines()))
            keys = ("sample_count", "channel_count", "sample_rate")
            found = Sphere(*(int(fields[key]) for key in keys))
            width = int(fields["sample_n_bytes"])
        except (ValueError, KeyError):
            kind = b""
    if kind.strip() != b"NIST_1A":
        raise UserError(f"{path} has no SPHERE header: get the file again")
    if "embedded" in fields.get("sample_coding", ""):
        raise UserError(
            f"{path} is compressed ({fields['sample_coding']}): unpack it with 'sph2pipe -f sph -u'"
        )
    there = (path.stat().st_size - size) // (width * found.channels)
    if there < found.frames:
        raise UserError(
            f"{path} was cut short: its header counts {found.frames} samples of each channel, and "
            f"{max(there, 0)} are there; get the file again"
        )
    return found


def _fields(lines):
    for line in lines:
        if line.strip() == "end_head":
            break
        name, kind, value = [*line.split(maxsplit=2), "", "", ""][:3]
        if kind.startswith("-"):
            yield name, value.strip()
