"""Rows of manifests for telephone conversations: which part of which channel an utterance is."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from speechbrain_recursive.data.ms98 import read_ms98
from speechbrain_recursive.data.sphere import read_header
from speechbrain_recursive.data.stm import name_of, read_stm
from speechbrain_recursive.errors import UserError

LATE = 0.1  # seconds by which a segment may end after its audio, from rounded times


def transcribed(path: Path, audio: Path) -> Iterator[dict[str, Any]]:
    """Make the rows of one side of a conversation, from its transcript.

    Arguments
    ---------
    path : Path
        A transcript of :mod:`speechbrain_recursive.data.ms98`.
    audio : Path
        The conversation.

    Yields
    ------
    dict
        As :func:`speechbrain_recursive.data.prepare.build_manifests` takes it, for each turn.

    Raises
    ------
    UserError
        If the transcript is malformed, or the audio was cut short or does not have the channel.
    """
    sphere, side = read_header(audio), path.name[6]
    channel, speaker = "AB".index(side), f"{audio.stem}-{side}"
    for where, uid, start, stop, words in read_ms98(path):
        _check_channel(where, channel, sphere, audio)
        yield _row(uid, audio, speaker, channel, start, _end(stop, sphere), words)


def referenced(paths: Iterable[Path], audio: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Make the rows of a test, from its references.

    Arguments
    ---------
    paths : iterable of Path
        References; see :mod:`speechbrain_recursive.data.stm`.
    audio : mapping of str to Path
        Conversations by name, in lower case.

    Returns
    -------
    list of dict
        As :func:`speechbrain_recursive.data.prepare.build_manifests` takes them, sorted by ID.

    Raises
    ------
    UserError
        If references are malformed, audio is missing or was cut short, or does not have a segment or
        its channel.
    """
    rows, spheres = {}, {}
    for segment in itertools.chain.from_iterable(map(read_stm, paths)):
        where, file, channel, speaker, start, stop, words = segment
        path = audio.get(file.lower())
        if path is None:
            raise UserError(f"{where}: the audio of this segment, {file}.sph, is missing")
        sphere = spheres[path] = spheres.get(path) or read_header(path)
        _check_channel(where, channel, sphere, path)
        if stop > sphere.duration + LATE:
            raise UserError(
                f"{where}: a segment from {start:g} to {stop:g} s, but {path} lasts "
                f"{sphere.duration:.2f} s"
            )
        uid = name_of(file, channel, start, stop)
        if uid in rows:
            raise UserError(f"{where}: {uid} has two references; remove one")
        rows[uid] = _row(uid, path, speaker, channel, start, _end(stop, sphere), words)
    return [rows[uid] for uid in sorted(rows)]


def _row(uid, path, speaker, channel, start, stop, words):
    row = {"ID": uid, "wav": str(path), "spk_id": speaker, "wrd": words}
    return row | {"channel": channel, "start": start, "stop": stop}


def _check_channel(where, channel, sphere, path):
    if channel >= sphere.channels:
        raise UserError(f"{where}: channel {'AB'[channel]}, but {path} has {sphere.channels} channel")


def _end(stop, sphere):
    """When a segment stops that may stop a little after its audio."""
    return min(stop, sphere.duration) if stop <= sphere.duration + LATE else stop
