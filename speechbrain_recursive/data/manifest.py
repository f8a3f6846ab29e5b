"""Manifests: CSV tables of the utterances of a split."""

import csv
import hashlib
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole

NUMBERS = {"start": float, "stop": float, "channel": int}  # optional
COLUMNS = ("ID", "duration", "wav", "spk_id", "wrd", "unreadable", *NUMBERS)


def write_manifest(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a manifest, whole or not at all.

    Arguments
    ---------
    path : str or Path
        A CSV file.
    rows : iterable of dict
        With the keys ID, duration (float, seconds), wav, spk_id, wrd and unreadable (why the audio
        cannot be used, or an empty string). Where the utterance is a part of its file, also start and
        stop (float, seconds), channel (int, counted from 0), or some of them. Other keys are ignored.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    table.writeheader()
    table.writerows(row | {"duration": f"{row['duration']:.4f}"} for row in rows)
    write_whole(path, text.getvalue())


def read_manifest(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a manifest.

    SpeechBrain's own reader expands variables in fields and fails at a word such as ``$5``.

    Arguments
    ---------
    path : str or Path
        A file of :func:`write_manifest`, or a CSV file of SpeechBrain's with the same columns;
        unreadable, start, stop and channel may be missing.

    Returns
    -------
    dict
        From ID to a dict of the other columns, in the order of the file. ``duration`` is a float;
        ``start``, ``stop`` (float) and ``channel`` (int) are None where the row has none.

    Raises
    ------
    UserError
        If the file or a column is missing, or a number is malformed or out of range.

    Example
    -------
    >>> import pathlib, tempfile
    >>> row = {"ID": "a", "duration": 1.5, "wav": "a.wav", "spk_id": "s", "wrd": "$5 NOW"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_manifest(pathlib.Path(folder, "a.csv"), [row | {"unreadable": ""}])
    ...     read_manifest(pathlib.Path(folder, "a.csv"))["a"]["wrd"]
    '$5 NOW'
    """
    rows, needed = {}, {*COLUMNS} - {"unreadable", *NUMBERS}
    table = csv.DictReader(io.StringIO(read_text(path, f"no manifest at {path}")))
    missing = needed - {*(table.fieldnames or ())}
    if missing:
        raise UserError(f"{path}, line 1: no column {', '.join(sorted(missing))}")
    for row in table:
        where = f"{path}, line {table.line_num}"
        if None in map(row.get, needed):
            raise UserError(f"{where}: too few columns")
        row["unreadable"] = row.get("unreadable") or ""
        for key, kind in {"duration": float, **NUMBERS}.items():
            try:
                row[key] = kind(row[key]) if row.get(key) or key == "duration" else None
            except ValueError:
                raise UserError(f"{where}: {row[key]!r} is not a {key}") from None
        start, stop, channel = map(row.get, NUMBERS)
        within = 0 <= (start or 0) < (math.inf if stop is None else stop) and (channel or 0) >= 0
        if not within and not row["unreadable"]:
            raise UserError(f"{where}: no start {start}, stop {stop} and channel {channel}")
        rows[row.pop("ID")] = row
    return rows


def summarize(path: str | Path) -> dict[str, Any]:
    """Say how much a manifest holds.

    Arguments
    ---------
    path : str or Path
        A file that :func:`read_manifest` reads.

    Returns
    -------
    dict
        ``utterances`` (int), ``hours`` (float) and ``sha256`` (str) of all IDs, durations and
        transcripts. Paths do not count, so that a corpus may move.
    """
    rows = read_manifest(path)
    content = "".join(f"{key}\t{row['duration']:.4f}\t{row['wrd']}\n" for key, row in rows.items())
    return {
        "utterances": len(rows),
        "hours": round(sum(row["duration"] for row in rows.values()) / 3600, 4),
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
    }
