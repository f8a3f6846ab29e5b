"""The table of utterances that every prepare script writes and everything else reads."""

import csv
from pathlib import Path

from speechbrain_recursive.errors import UserError

COLUMNS = ("ID", "duration", "wav", "spk_id", "wrd", "unreadable")


def write_manifest(path, rows):
    """Write a manifest, at once or not at all.

    Arguments
    ---------
    path : str or Path
        A CSV file.
    rows : iterable of dict
        With the keys ID, duration (float, seconds), wav, spk_id, wrd and unreadable (why the audio
        cannot be used, or nothing). Other keys are ignored.
    """
    path = Path(path)
    partial = path.with_suffix(".partial")
    with open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        table.writerows(row | {"duration": f"{row['duration']:.4f}"} for row in rows)
    partial.replace(path)


def read_manifest(path):
    """Read a manifest.

    SpeechBrain's own reader looks for variables in fields and stops at a word such as ``$5``, so
    this one is used in its place.

    Arguments
    ---------
    path : str or Path
        What :func:`write_manifest` wrote, or a CSV file of SpeechBrain's with these columns;
        ``unreadable`` may lack.

    Returns
    -------
    dict
        From ID to a dict of the other columns, in the order of the file; ``duration`` is a float.

    Raises
    ------
    UserError
        If the file is not there, lacks a column or has a duration that is not a number.

    Example
    -------
    >>> import pathlib, tempfile
    >>> row = {"ID": "a", "duration": 1.5, "wav": "a.wav", "spk_id": "s", "wrd": "$5 NOW"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_manifest(pathlib.Path(folder, "a.csv"), [row | {"unreadable": ""}])
    ...     read_manifest(pathlib.Path(folder, "a.csv"))["a"]["wrd"]
    '$5 NOW'
    """
    rows = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            lacking = {*COLUMNS} - {"unreadable"} - {*(table.fieldnames or ())}
            if lacking:
                raise UserError(f"{path}, line 1: no column {', '.join(sorted(lacking))}")
            for row in table:
                try:
                    row["duration"] = float(row["duration"])
                except (TypeError, ValueError):
                    raise UserError(
                        f"{path}, line {table.line_num}: {row['duration']!r} is not a duration"
                    ) from None
                row["unreadable"] = row.get("unreadable") or ""
                rows[row.pop("ID")] = row
    except FileNotFoundError:
        raise UserError(f"no manifest at {path}") from None
    return rows
