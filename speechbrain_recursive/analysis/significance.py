"""Significance of the difference between two runs: MAPSSWE and the bootstrap.

MAPSSWE, the matched-pair sentence-segment word error test (Gillick and Cox, "Some statistical issues in
the comparison of speech recognition algorithms", ICASSP 1989), gives the segments and the z of NIST's
``sc_stats`` on the alignments of ``sclite -s``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechbrain_recursive.analysis.wer import Triple, bootstrap_rates

_SUBSTITUTION, _GAP = 4, 3  # sclite's costs; two substitutions cost more than two gaps and a match
_BUFFER = 2  # correct words that separate two segments
_CRITICAL_Z = 1.96  # two-tailed, 5%


@dataclass(frozen=True)
class MatchedPairs:
    """Result of the matched-pair sentence-segment word error test.

    Arguments
    ---------
    segments : int
        Number of segments, each with an error of at least one system.
    mean, std : float
        Mean and standard deviation of the difference in errors per segment, first system minus second.
    z : float
        Standardized mean, positive if the second system has fewer errors.
    p : float
        Two-tailed probability of a z at least this large if the systems were equal.
    """

    segments: int
    mean: float
    std: float
    z: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the systems differ at the 5% level."""
        return abs(self.z) > _CRITICAL_Z


def error_slots(reference: Sequence[str], hypothesis: Sequence[str]) -> list[int]:
    """Positions of the errors in an utterance, by sclite's alignment.

    The alignment is the cheapest one at cost 4 per substitution and 3 per insertion or deletion. Among
    equally cheap ones, going back from the end, a match or substitution is preferred to an insertion,
    and an insertion to a deletion. SpeechBrain's alignment uses unit costs and pairs other words in a
    few percent of the utterances, which changes the second digit of z.

    Arguments
    ---------
    reference, hypothesis : sequence of str
        n and m tokens.

    Returns
    -------
    list of int
        2n + 1 counts: insertions before the first token, whether it is wrong (0 or 1), insertions
        before the second, and so on, and insertions after the last.

    Example
    -------
    >>> error_slots(["the", "cat"], ["a", "cat", "sat"])
    [0, 1, 0, 0, 1]
    """
    width = len(hypothesis) + 1
    above = [_GAP * j for j in range(width)]
    moves = ["I" * width]  # how the best path enters each cell
    for i, word in enumerate(reference, start=1):
        row, how = [_GAP * i], ["D"]
        for j, token in enumerate(hypothesis, start=1):
            across = above[j - 1] + (0 if word == token else _SUBSTITUTION)
            insertion, deletion = row[-1] + _GAP, above[j] + _GAP
            best = min(across, insertion, deletion)
            how.append("M" if best == across else "I" if best == insertion else "D")
            row.append(best)
        above = row
        moves.append("".join(how))
    slots = [0] * (2 * len(reference) + 1)
    i, j = len(reference), len(hypothesis)
    while i or j:
        move = moves[i][j]
        if move == "I":
            slots[2 * i] += 1
        else:
            slots[2 * i - 1] = int(move == "D" or reference[i - 1] != hypothesis[j - 1])
        i, j = i - (move != "I"), j - (move != "D")
    return slots


def segment_errors(first: Sequence[int], second: Sequence[int]) -> list[tuple[int, int]]:
    """Errors of two systems in each segment of an utterance.

    A segment ends at two successive reference words that both systems recognize correctly, with no
    insertion between them, and at the end of the utterance. Stretches without errors are not segments.

    Arguments
    ---------
    first, second : sequence of int
        From :func:`error_slots`, for the two systems on the same utterance.

    Returns
    -------
    list of (int, int)

    Example
    -------
    >>> one, other = error_slots("abcdefg", "xbcdefg"), error_slots("abcdefg", "abcxefyz")
    >>> segment_errors(one, other)
    [(1, 0), (0, 1), (0, 2)]
    """
    segments, errors, right = [], (0, 0), 0
    for slot, (a, b) in enumerate(zip(first, second, strict=True)):
        if a or b:
            errors, right = (errors[0] + a, errors[1] + b), 0
        elif slot % 2:  # a word; the even slots are gaps
            right += 1
            if right >= _BUFFER and errors != (0, 0):
                segments.append(errors)
                errors = (0, 0)
    return segments if errors == (0, 0) else [*segments, errors]


def mapsswe(first: Sequence[Triple], second: Sequence[Triple]) -> MatchedPairs:
    """Run the matched-pair sentence-segment word error test.

    Arguments
    ---------
    first, second : sequence of (str, sequence of str, sequence of str)
        Utterance id, reference tokens, hypothesis tokens of two systems, in the same order.

    Returns
    -------
    MatchedPairs
        As in ``sc_stats``, z is 0 if the difference is the same in all segments.

    Example
    -------
    >>> reference = "a b c d e f g h".split()
    >>> first = [("u1", reference, "x b c d e x g h".split()), ("u2", reference, "a b".split())]
    >>> test = mapsswe(first, [("u1", reference, reference), ("u2", reference, "a b c d".split())])
    >>> test.segments, round(test.z, 2), test.significant
    (3, 4.0, True)
    """
    differences = []
    for (_, reference, one), (_, _, other) in zip(first, second, strict=True):
        slots = error_slots(reference, one), error_slots(reference, other)
        differences += [a - b for a, b in segment_errors(*slots)]
    count = len(differences)
    mean = sum(differences) / count if count else 0.0
    squares = sum((value - mean) ** 2 for value in differences)
    if squares == 0.0:
        return MatchedPairs(count, mean, 0.0, 0.0, 1.0)
    std = math.sqrt(squares / (count - 1))
    z = mean / (std / math.sqrt(count))
    return MatchedPairs(count, mean, std, z, math.erfc(abs(z) / math.sqrt(2)))


@dataclass(frozen=True)
class Difference:
    """A difference of error rates, second minus first, with its bootstrap interval.

    Arguments
    ---------
    points : float
        Percentage points, negative if the second system is better.
    low, high : float
        Ends of the 95% interval.
    improved : float
        Fraction of resamples in which the second system has fewer errors; ties count one half.
    """

    points: float
    low: float
    high: float
    improved: float


def bootstrap_difference(
    first: Sequence[int],
    second: Sequence[int],
    lengths: Sequence[int],
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Difference of two error rates, with an interval by resampling whole utterances.

    Both systems are scored on the same draws, so the difficulty of the utterances drawn cancels out
    (Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004). The interval reflects the choice of test utterances, not that of training seeds.

    Arguments
    ---------
    first, second : sequence of int
        Errors of the two systems in each utterance.
    lengths : sequence of int
        Reference tokens of each utterance; at least one above zero.
    resamples : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    Difference

    Example
    -------
    >>> bootstrap_difference([2, 2, 2], [1, 1, 1], [4, 4, 4])
    Difference(points=-25.0, low=-25.0, high=-25.0, improved=1.0)
    """
    change = np.subtract(second, first)
    rates = bootstrap_rates(change, lengths, resamples, seed)
    ends = np.percentile(rates, (2.5, 97.5)).tolist()
    improved = np.mean(rates < 0) + np.mean(rates == 0) / 2
    return Difference(float(100.0 * change.sum() / np.sum(lengths)), *ends, float(improved))
