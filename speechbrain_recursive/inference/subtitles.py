"""Transcripts as subtitles: SubRip (SRT) and WebVTT."""

import html
import textwrap
from collections.abc import Sequence

from speechbrain_recursive.inference.words import Word

GAP, LONGEST, WIDTH = 1.0, 6.0, 42  # seconds of silence, seconds of a cue, characters of each of 2 lines


def groups(words: Sequence[Word], separator: str = " ") -> list[list[Word]]:
    """Divide words into cues.

    A cue ends at a second of silence, after six seconds, or when two lines of 42 characters are full.

    Example
    -------
    >>> words = [Word("A", 0.5, 0.7, 1.0), Word("CAT", 0.8, 1.1, 1.0), Word("SAT", 3.0, 3.4, 1.0)]
    >>> [[word.text for word in group] for group in groups(words)]
    [['A', 'CAT'], ['SAT']]
    """
    found: list[list[Word]] = []
    for word in words:
        late = not found or (
            word.start - found[-1][-1].end >= GAP
            or word.end - found[-1][0].start > LONGEST
            or len(textwrap.wrap(_joined([*found[-1], word], separator), WIDTH)) > 2
        )
        if late:
            found.append([word])
        else:
            found[-1].append(word)
    return found


def cues(words: Sequence[Word], separator: str = " ") -> list[tuple[float, float, str]]:
    """The :func:`groups` of words as cues: start and end in seconds, and the text.

    Example
    -------
    >>> cues([Word("A", 0.5, 0.7, 1.0), Word("CAT", 0.8, 1.1, 1.0)])
    [(0.5, 1.1, 'A CAT')]
    """
    return [
        (group[0].start, group[-1].end, _joined(group, separator)) for group in groups(words, separator)
    ]


def srt(words: Sequence[Word], separator: str = " ") -> str:
    """Words as SubRip.

    Example
    -------
    >>> print(srt([Word("HI", 61.5, 62.0, 1.0)]), end="")
    1
    00:01:01,500 --> 00:01:02,000
    HI
    <BLANKLINE>
    """
    return "".join(
        f"{number}\n{_time(start, ',')} --> {_time(end, ',')}\n{_lines(text)}\n\n"
        for number, (start, end, text) in enumerate(cues(words, separator), 1)
    )


def vtt(words: Sequence[Word], separator: str = " ") -> str:
    """Words as WebVTT.

    Example
    -------
    >>> print(vtt([Word("HI", 0.5, 1.0, 1.0)]), end="")
    WEBVTT
    <BLANKLINE>
    00:00:00.500 --> 00:00:01.000
    HI
    <BLANKLINE>
    """
    return "WEBVTT\n\n" + "".join(
        f"{_time(start, '.')} --> {_time(end, '.')}\n{html.escape(_lines(text), quote=False)}\n\n"
        for start, end, text in cues(words, separator)
    )


def _joined(words, separator):
    return separator.join(word.text for word in words)


def _time(seconds, point):
    whole, thousandths = divmod(round(1000 * seconds), 1000)
    minutes, whole = divmod(whole, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{whole:02}{point}{thousandths:03}"


def _lines(text):
    return "\n".join(textwrap.wrap(text, WIDTH))
