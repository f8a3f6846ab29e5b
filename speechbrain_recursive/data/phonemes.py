"""Which phoneme is spoken when: labels of a synthetic corpus, or of a forced alignment.

They are in a CSV table with the columns ``ID`` (of the utterance), ``start``, ``end`` (seconds from the
utterance's beginning) and ``phoneme``, in any order of rows. Synthetic corpora have such a table; for
other corpora, one can be made of the output of an aligner such as the Montreal Forced Aligner.
"""

import bisect
import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole

FILE = "phonemes.csv"
COLUMNS = ("ID", "start", "end", "phoneme")


class Phoneme(NamedTuple):
    """A phoneme that is spoken from ``start`` until ``end``, in seconds."""

    start: float
    end: float
    name: str

    def shifted(self, seconds: float) -> "Phoneme":
        """The phoneme so many seconds later."""
        return self._replace(start=self.start + seconds, end=self.end + seconds)


def write_phonemes(path: str | Path, utterances: Iterable[tuple[str, Iterable[Phoneme]]]) -> None:
    """Write the phonemes of utterances, to ten microseconds.

    Arguments
    ---------
    path : str or Path
        A CSV file.
    utterances : iterable of (str, iterable of Phoneme)
        By ID.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for uid, phonemes in utterances:
        table.writerows((uid, f"{one.start:.5f}", f"{one.end:.5f}", one.name) for one in phonemes)
    write_whole(path, text.getvalue())


def read_phonemes(path: str | Path) -> dict[str, list[Phoneme]]:
    """Read the phonemes of utterances.

    Arguments
    ---------
    path : str or Path
        A CSV file with the columns ``ID``, ``start``, ``end`` and ``phoneme``; others are ignored.

    Returns
    -------
    dict
        From the ID of each utterance to its phonemes, in the order in which they are spoken.

    Raises
    ------
    UserError
        If the file or a column is missing, a row has no ID, no phoneme or no valid times, or two
        phonemes of an utterance overlap.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_phonemes(f"{folder}/a.csv", [("a", [Phoneme(0.1, 0.25, "h")])])
    ...     read_phonemes(f"{folder}/a.csv")
    {'a': [Phoneme(start=0.1, end=0.25, name='h')]}
    """
    table = csv.DictReader(io.StringIO(read_text(path, f"no labels of phonemes at {path}")))
    missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise UserError(f"{path}, line 1: no column {', '.join(missing)}; needed: {','.join(COLUMNS)}")
    found = {}
    for row in table:
        where = f"{path}, line {table.line_num}"
        uid, start, end, name = (row[column] for column in COLUMNS)
        if not uid or not name:
            raise UserError(f"{where}: no {'phoneme' if uid else 'ID'}")
        try:
            start, end = float(start), float(end)
        except (TypeError, ValueError):
            raise UserError(f"{where}: start {start!r} and end {end!r} are not two numbers") from None
        if not 0 <= start < end < float("inf"):
            raise UserError(f"{where}: no phoneme lasts from {start:g} to {end:g} s")
        found.setdefault(uid, []).append((Phoneme(start, end, name), where))
    return {uid: _in_order(uid, rows) for uid, rows in found.items()}


def _in_order(uid, rows):
    rows = sorted(rows, key=lambda row: row[0])
    for (one, _), (other, where) in itertools.pairwise(rows):
        if other.start < one.end:
            raise UserError(
                f"{where}: {other.name} of {uid} starts before {one.name} ends ({one.end:g} s)"
            )
    return [phoneme for phoneme, _ in rows]


def find_phonemes(audio: Iterable[str | Path]) -> Path | None:
    """Find the table of a corpus: a ``phonemes.csv`` in a folder that holds its audio, at any depth.

    Arguments
    ---------
    audio : iterable of (str or Path)
        Files of the corpus.

    Returns
    -------
    Path or None
        None if there is none.
    """
    above = (folder for file in audio for folder in Path(file).parents)
    return next((folder / FILE for folder in above if (folder / FILE).is_file()), None)


def phonemes_at(phonemes: Sequence[Phoneme], times: Iterable[float]) -> list[str | None]:
    """Which phoneme is spoken at each of several times.

    Arguments
    ---------
    phonemes : sequence of Phoneme
        Of one utterance, in the order in which they are spoken.
    times : iterable of float
        Seconds.

    Returns
    -------
    list of (str or None)
        None where there is no phoneme.

    Example
    -------
    >>> phonemes_at([Phoneme(0.0, 0.1, "a"), Phoneme(0.1, 0.2, "b")], [0.05, 0.1, 0.2])
    ['a', 'b', None]
    """
    starts, found = [phoneme.start for phoneme in phonemes], []
    for time in times:
        place = bisect.bisect(starts, time) - 1
        inside = place >= 0 and time < phonemes[place].end
        found.append(phonemes[place].name if inside else None)
    return found
