"""When words are spoken, and how sure a model is of them, from CTC posteriors."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Word(NamedTuple):
    """A word, or a character where errors are counted in characters.

    ``start`` and ``end`` are seconds from the beginning of the recording; ``confidence`` is the
    geometric mean of the CTC posteriors of its tokens, from 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float

    def shifted(self, seconds: float) -> "Word":
        """The word so many seconds later."""
        return self._replace(start=self.start + seconds, end=self.end + seconds)


class Span(NamedTuple):
    """Frames of a token, from ``first`` to before ``end``, and its mean log-posterior in them."""

    first: int
    end: int
    score: float


def align(log_probs: np.ndarray, ids: Sequence[int], blank: int = 0) -> list[Span]:
    """The frames of each token on the most likely path of a token sequence.

    ``torchaudio.functional.forced_align`` finds the same; this runs where there is no PyTorch as well.

    Arguments
    ---------
    log_probs : numpy.ndarray
        CTC log-posteriors [T, V].
    ids : sequence of int
        The tokens, from any decoder.
    blank : int
        Index of the blank.

    Returns
    -------
    list of Span
        One per token. If there is no path, since there are too few frames, the tokens share them evenly
        with a score of minus infinity.

    Example
    -------
    >>> log_probs = np.log(np.eye(3)[[0, 1, 1, 0, 1, 2]] + 1e-3)
    >>> [(span.first, span.end) for span in align(log_probs, [1, 1, 2])]
    [(1, 3), (4, 5), (5, 6)]
    """
    log_probs, ids = np.asarray(log_probs, dtype=np.float32), [int(token) for token in ids]
    frames, count = len(log_probs), len(ids)
    if count == 0:
        return []
    if frames < count + sum(a == b for a, b in pairwise(ids)):
        edges = [round(index * frames / count) for index in range(count + 1)]
        return [Span(a, b, -np.inf) for a, b in pairwise(edges)]
    states = np.full(2 * count + 1, blank)  # a blank before, between and after the tokens
    states[1::2] = ids
    skips = np.zeros(len(states), dtype=bool)  # from one token to a different next one
    skips[3::2] = states[3::2] != states[1:-2:2]
    emitted = log_probs[:, states].astype(np.float64)
    scores = np.full((3, len(states)), -np.inf)  # of the best paths that stay, step and skip
    best = np.full(len(states), -np.inf)
    best[:2] = emitted[0, :2]
    came = np.zeros((frames, len(states)), dtype=np.int8)
    for frame in range(1, frames):
        scores[0], scores[1, 1:], scores[2, 2:] = best, best[:-1], best[:-2]
        scores[2, ~skips] = -np.inf
        came[frame] = scores.argmax(0)
        best = scores.max(0) + emitted[frame]
    path = np.empty(frames, dtype=int)
    path[-1] = len(states) - 1 - (best[-2] >= best[-1])
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] - came[frame, path[frame]]
    found = []
    for index, token in enumerate(ids):
        at = np.flatnonzero(path == 2 * index + 1)
        found.append(Span(int(at[0]), int(at[-1]) + 1, float(log_probs[at, token].mean())))
    return found


def words_of(
    ids: Sequence[int],
    spans: Sequence[Span],
    decode: Callable[[Sequence[int]], str],
    units: Callable[[str], list[str]],
    seconds: Callable[[float], float],
) -> list[Word]:
    """Words of a token sequence that was aligned.

    Arguments
    ---------
    ids, spans : sequence
        The tokens and their frames.
    decode : callable
        From token ids to a text.
    units : callable
        From a text to its words or characters.
    seconds : callable
        From the border before a frame to the time of it.

    Returns
    -------
    list of Word
        Tokens that write nothing, such as a boundary between words, belong to no word.
    """
    text, letters = units(decode(ids)), []  # of each letter: its borders in frames and its score
    for count, span in enumerate(spans, 1):
        more = len("".join(units(decode(ids[:count])))) - len(letters)
        each = (span.end - span.first) / max(1, more)
        borders = (span.first + each * index for index in range(max(0, more)))
        letters += [(border, border + each, span.score) for border in borders]
    found, done = [], 0
    for word in text:
        own = letters[done : done + len(word)] or letters[-1:]
        score = np.exp(np.mean([score for *_, score in own]))
        found.append(Word(word, seconds(own[0][0]), seconds(own[-1][1]), float(score)))
        done += len(word)
    return found


def join(left: list[Word], right: list[Word], middle: float, reach: float) -> tuple[list, list]:
    """Divide the words of two windows that overlap.

    Arguments
    ---------
    left, right : list of Word
        The words of either window.
    middle : float
        The middle of the overlap, in seconds. If a word is spoken there, the words are divided at the
        nearest time when neither window has one.
    reach : float
        How far the overlap goes to either side, in seconds.

    Returns
    -------
    list of Word, list of Word
        Those of the left window before that time, and those of the right window after it. A word that
        both have there is taken once.

    Example
    -------
    >>> left = [Word("A", 0.1, 0.4, 0.9), Word("CAT", 0.6, 1.1, 0.9), Word("S", 1.2, 1.3, 0.2)]
    >>> right = [Word("T", 0.8, 1.0, 0.3), Word("SAT", 1.2, 1.6, 0.9)]
    >>> [[word.text for word in part] for part in join(left, right, 1.0, 0.4)]
    [['A', 'CAT'], ['SAT']]
    """
    both = [*left, *right]
    times = [middle, *(word.start for word in both), *(word.end for word in both)]
    free = [
        time
        for time in times
        if abs(time - middle) <= reach and not any(word.start < time < word.end for word in both)
    ]
    cut = min(free, key=lambda time: abs(time - middle), default=middle)
    left = [word for word in left if word.start + word.end <= 2 * cut]
    right = [word for word in right if word.start + word.end > 2 * cut]
    if left and right and left[-1].text == right[0].text and right[0].start < left[-1].end + reach / 4:
        right = right[1:]
    return left, right
