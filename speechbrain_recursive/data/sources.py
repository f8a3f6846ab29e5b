"""The audio files that a command line names: files, folders, patterns and the standard input."""

import glob
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import soundfile

from speechbrain_recursive.data.blocks import Audio
from speechbrain_recursive.errors import UserError

MORE = {"AIF", "OGA", "OPUS", "SPH"}  # suffixes besides libsndfile's names of formats
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats().keys() | MORE} - {".raw"}


class Source(NamedTuple):
    """Audio, what it is called, and where results of it belong in a folder of results."""

    audio: Audio
    label: str
    place: PurePath


def expand(paths: Iterable[str]) -> list[Source]:
    """Find the audio that a user names.

    Arguments
    ---------
    paths : iterable of str
        Files; folders, of which all audio files at any depth are taken; patterns such as
        ``talks/**/*.mp3``; and ``-``, the standard input, which holds an audio file or paths, one per
        line.

    Returns
    -------
    list of Source
        In the order of the paths, and sorted in folders and patterns; each file once. A path of nothing
        is kept, so that reading it says what is wrong.

    Raises
    ------
    UserError
        If a folder holds no audio files.
    """
    found = {}
    for path in paths:
        for source in _expand(path):
            found.setdefault(source.label, source)
    return list(found.values())


def _expand(path):
    if path == "-":
        file, lines = _standard_input()
        return [Source(file, "-", PurePath("stdin"))] if lines is None else expand(lines)
    if Path(path).is_dir():
        files = sorted(file for file in Path(path).rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise UserError(f"{path} holds no audio files")
        return [Source(file, str(file), file.relative_to(path)) for file in files]
    if not Path(path).exists() and glob.has_magic(path):
        fixed = Path(path)
        while glob.has_magic(str(fixed)):
            fixed = fixed.parent
        files = [Path(file) for file in sorted(glob.glob(path, recursive=True))]
        files = [file for file in files if not file.is_dir()]
        if files:
            return [Source(file, str(file), file.relative_to(fixed)) for file in files]
    return [Source(path, path, PurePath(Path(path).name))]


def _standard_input():
    """The standard input as a file on disk, and its lines if it is no audio but text."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 (read later, once per channel)
    shutil.copyfileobj(sys.stdin.buffer, file)
    file.seek(0)
    try:
        soundfile.info(file)
    except soundfile.SoundFileError:
        file.seek(0)
        try:
            lines = file.read().decode().splitlines()
        except UnicodeDecodeError:
            return file, None  # reading it says that it is no audio
        return file, [line for line in lines if line.strip() not in ("", "-")]
    return file, None


def places(sources: Sequence[Source]) -> list[str]:
    """Names for results of each source: without the suffix, unless two would share the name.

    Raises
    ------
    UserError
        If two sources have the same name in spite of that.

    Example
    -------
    >>> names = ["a.wav", "b/a.wav", "b/a.flac"]
    >>> places([Source(name, name, PurePath(name)) for name in names])
    ['a', 'b/a.wav', 'b/a.flac']
    """
    stems = Counter(source.place.with_suffix("") for source in sources)
    found = {}
    for source in sources:
        stem = source.place.with_suffix("")
        name = str(stem if stems[stem] == 1 else source.place)
        if name in found:
            raise UserError(
                f"{found[name]} and {source.label} would both be written to {name}: name the folder "
                "that holds both, or give each an --out_dir"
            )
        found[name] = source.label
    return list(found)
