"""Mississippi State's transcripts of Switchboard (MS98).

A file such as ``sw2001A-ms98-a-trans.text`` is one side of a conversation: one
``<utterance> <start> <stop> <words>`` per line, times in seconds.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text


class Turn(NamedTuple):
    """A line: ``where`` it stands (file and line), and what it says; times are in seconds."""

    where: str
    uid: str
    start: float
    stop: float
    words: str


def read_ms98(path: str | Path) -> Iterator[Turn]:
    """Read the lines in which something is said.

    Arguments
    ---------
    path : str or Path
        The file.

    Yields
    ------
    Turn
        With words as :func:`normalize` gives them.

    Raises
    ------
    UserError
        If the file is missing, or a line is malformed.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split(maxsplit=3)
        if not fields:
            continue
        try:
            uid, start, stop, text = fields[0], float(fields[1]), float(fields[2]), " ".join(fields[3:])
        except (IndexError, ValueError):
            expected = "<utterance> <start> <stop> WORDS"
            raise UserError(f"{path}, line {number}: expected '{expected}', found {line!r}") from None
        if words := normalize(text):
            yield Turn(f"{path}, line {number}", uid, start, stop, words)


def normalize(text: str) -> str:
    """Say what was spoken, word by word.

    Arguments
    ---------
    text : str
        Words as the transcribers type them.

    Returns
    -------
    str
        In capitals. Silence, noise, laughter and marks of asides are left out; laughed words are words;
        of a word and the word that was meant, the first stays; of a word that breaks off, what was
        spoken and a hyphen.

    Example
    -------
    >>> normalize("[silence] uh [laughter-summer] th[at]- them_1 [it'n/isn't] {yuppiedom} [noise]")
    "UH SUMMER TH- THEM IT'N YUPPIEDOM"
    """
    return " ".join(filter(None, map(_spoken, text.split()))).upper()


def _spoken(word):
    word = re.sub(r"^(-?)\[laughter-(.+)\](-?)$", r"\1\2\3", word, flags=re.IGNORECASE)
    word = re.sub(r"^\[(.+)/.+\](-?)$", r"\1\2", word)  # [it'n/isn't]
    word = re.sub(r"^-?\[[^][]+\](.+)$", r"-\1", word)  # -[an]y
    word = re.sub(r"^(.+)\[[^][]+\]-?$", r"\1-", word)  # th[at]-
    word = re.sub(r"^\{(.+)\}$", r"\1", word)
    word = re.sub(r"_\d$", "", word)
    return "" if re.fullmatch(r"\[.*\]|<.*>|-*", word) else word
