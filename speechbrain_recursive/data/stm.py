"""NIST's segment time marks (STM): the references of its tests of conversations.

A line is ``file channel speaker start stop [<label,...>] words``; comments begin with ``;;``. Words hold
alternatives, ``{ A / B }``, and words that may be missing, ``(%HESITATION)``; they stay as they are.
"""

import math
from pathlib import Path
from typing import NamedTuple

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file

CHANNELS = {"A": 0, "B": 1, "1": 0, "2": 1}
UNSCORED = {"inter_segment_gap", "excluded_region"}  # as speakers
IGNORED = "ignore_time_segment_in_scoring"  # as words
ASIDES = {"<b_aside>", "<e_aside>"}


class Segment(NamedTuple):
    """A line: ``where`` it stands (file and line), and what it says.

    ``channel`` is counted from 0; ``start`` and ``stop`` are in seconds.
    """

    where: str
    file: str
    channel: int
    speaker: str
    start: float
    stop: float
    words: str


def name_of(file: str, channel: int, start: float, stop: float) -> str:
    """Name a segment, which has no name of its own, by its file, its channel and its times.

    Example
    -------
    >>> name_of("en_4156", 0, 301.85, 302.48)
    'en_4156-A_030185-030248'
    """
    return f"{file}-{'AB'[channel]}_{100 * start:06.0f}-{100 * stop:06.0f}"


def read_stm(path: str | Path) -> list[Segment]:
    """Read the segments that are to be scored.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    list of Segment
        In the order of the file. Marks of asides are left out, and of two opening parentheses at the
        beginning of a word one.

    Raises
    ------
    UserError
        If the file is missing, or a line is malformed.

    Example
    -------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.stm")
    ...     _ = path.write_text("en_4156 A en_4156_A 1.5 3.25 <O,en,F,en-F> (%HESITATION) YES\\n")
    ...     read_stm(path)[0][1:]
    ('en_4156', 0, 'en_4156_A', 1.5, 3.25, '(%HESITATION) YES')
    """
    found = []
    for number, line in enumerate(check_file(path).read_text("latin-1").splitlines(), start=1):
        where, fields = f"{path}, line {number}", line.split()
        if not fields or line.startswith(";;"):
            continue
        if len(fields) < 5:
            raise UserError(f"{where}: expected '<file> <channel> <speaker> <start> <stop> WORDS'")
        file, channel, speaker, *times = fields[:5]
        try:
            start, stop = map(float, times)
        except ValueError:
            start = stop = math.nan
        if not 0 <= start < stop < math.inf:
            raise UserError(f"{where}: no segment lasts from {times[0]} to {times[1]} s")
        if channel not in CHANNELS:
            raise UserError(f"{where}: {channel!r} is no channel, only {', '.join(CHANNELS)} are")
        labeled = len(fields) > 5 and fields[5].startswith("<") and fields[5].lower() not in ASIDES
        words = [word for word in fields[5 + labeled :] if word.lower() not in ASIDES]
        if speaker.lower() in UNSCORED or IGNORED in map(str.lower, words):
            continue
        words = " ".join(word[1:] if word.startswith("((") else word for word in words)
        if any(words.count(one) != words.count(other) for one, other in ("{}", "()")):
            raise UserError(f"{where}: a brace or a parenthesis without its other half: {words!r}")
        found.append(Segment(where, file, CHANNELS[channel], speaker, start, stop, words))
    return found
