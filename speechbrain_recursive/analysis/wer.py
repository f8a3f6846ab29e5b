"""Word and character error rates with bootstrap confidence intervals.

The alignment is SpeechBrain's (``speechbrain.utils.edit_distance``), which breaks ties as Kaldi does, so
the rates equal those that SpeechBrain's recipes print.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from speechbrain.dataio.wer import print_alignments
from speechbrain.utils.edit_distance import wer_details_for_batch

from speechbrain_recursive.errors import UserError

Triple = tuple[str, Sequence[str], Sequence[str]]


@dataclass(frozen=True)
class ErrorRate:
    """An error rate over a set of utterances, with its 95% confidence interval.

    Arguments
    ---------
    errors : tuple of int
        Insertions, deletions and substitutions of each utterance, summed, in the order of utterances.
    lengths : tuple of int
        Reference tokens of each utterance.
    low, high : float
        Ends of the confidence interval, in percent.

    Example
    -------
    >>> rate = error_rate([("u1", ["a", "b"], ["a", "c"]), ("u2", ["a", "b"], ["a", "b"])])
    >>> rate.wer, rate.errors
    (25.0, (1, 0))
    """

    errors: tuple[int, ...]
    lengths: tuple[int, ...]
    low: float
    high: float

    @property
    def wer(self) -> float:
        """Errors per hundred reference tokens."""
        return 100.0 * sum(self.errors) / sum(self.lengths)


class Scored(NamedTuple):
    """What a scorer finds in the hypotheses of a test set.

    Arguments
    ---------
    rate : ErrorRate
        Their error rate.
    triples : list of (str, list of str, list of str)
        What was counted: utterance id, reference tokens, hypothesis tokens.
    more : dict
        What else belongs into a row of the report.
    """

    rate: ErrorRate
    triples: list[Triple]
    more: dict


def score(triples: Iterable[Triple]) -> Scored:
    """Count errors in triples as they are: the scorer of most corpora; see :func:`error_rate`."""
    triples = list(triples)
    return Scored(error_rate(triples), triples, {})


def error_rate(triples: Iterable[Triple], resamples: int = 2000, seed: int = 0) -> ErrorRate:
    """Error rate of hypotheses against references.

    Arguments
    ---------
    triples : iterable of (str, sequence of str, sequence of str)
        Utterance id, reference tokens, hypothesis tokens. Words give a word error rate, characters a
        character error rate. An empty transcript is an empty sequence.
    resamples : int
        Number of bootstrap resamples for the confidence interval.
    seed : int
        Seed of the resampling.

    Returns
    -------
    ErrorRate

    Raises
    ------
    UserError
        If there is no utterance, if all references are empty, or if an id occurs twice.

    Example
    -------
    >>> error_rate([("u1", list("cat"), list("")), ("u2", list("dog"), list("dogs"))]).wer
    66.66666666666667
    """
    details = _details(triples)
    errors, lengths = (tuple(u[key] for u in details) for key in ("num_edits", "num_ref_tokens"))
    if not any(lengths):
        raise UserError(
            f"all {len(details)} references are empty, so there is no error rate: "
            "check the transcripts of this split"
        )
    return ErrorRate(errors, lengths, *bootstrap_interval(errors, lengths, resamples, seed))


def bootstrap_interval(
    errors: Sequence[int], lengths: Sequence[int], resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% confidence interval of an error rate, by resampling whole utterances.

    Utterances are drawn with replacement, and the rate is computed over each draw. The interval extends
    from the 2.5th to the 97.5th percentile of these rates (Bisani and Ney, "Bootstrap estimates for
    confidence intervals in ASR performance evaluation", ICASSP 2004). It reflects the choice of test
    utterances, not that of training seeds.

    Arguments
    ---------
    errors, lengths : sequence of int
        Errors and reference tokens of each utterance; at least one length above zero.
    resamples : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    (float, float)
        Ends of the interval, in percent.

    Example
    -------
    >>> bootstrap_interval([1, 1, 1], [4, 4, 4])
    (25.0, 25.0)
    """
    rates = bootstrap_rates(errors, lengths, resamples, seed)
    return tuple(np.percentile(rates, (2.5, 97.5)).tolist())


def bootstrap_rates(
    errors: Sequence[int], lengths: Sequence[int], resamples: int, seed: int
) -> np.ndarray:
    """Error rates in percent of draws of whole utterances; see :func:`bootstrap_interval`.

    Returns
    -------
    numpy.ndarray
        At most [resamples]: draws of empty references alone have no rate and are left out.
    """
    draws = np.random.default_rng(seed).integers(len(errors), size=(resamples, len(errors)))
    n_errors, n_tokens = (np.asarray(each)[draws].sum(axis=1) for each in (errors, lengths))
    return 100.0 * n_errors[n_tokens > 0] / n_tokens[n_tokens > 0]


def worst_utterances(triples: Iterable[Triple], count: int = 10) -> list[dict]:
    """The utterances with the highest error rates, aligned.

    Arguments
    ---------
    triples : iterable of (str, sequence of str, sequence of str)
        As for :func:`error_rate`.
    count : int
        How many to return at most. Utterances without errors are never returned.

    Returns
    -------
    list of dict
        SpeechBrain's details of each utterance with its alignment, worst first; at equal rates the one
        with more errors comes first.

    Example
    -------
    >>> triples = [("u1", ["a"], ["b"]), ("u2", ["a"], ["a"]), ("u3", ["a", "b"], ["a"])]
    >>> [utterance["key"] for utterance in worst_utterances(triples)]
    ['u1', 'u3']
    """
    details = _details(triples, compute_alignments=True)
    wrong = [utterance for utterance in details if utterance["num_edits"]]
    return sorted(wrong, key=lambda utterance: (-utterance["WER"], -utterance["num_edits"]))[:count]


def format_alignment(utterance: dict) -> str:
    """Format an aligned utterance as a heading and three lines: reference, operations, hypothesis.

    Arguments
    ---------
    utterance : dict
        One of those that :func:`worst_utterances` returns.

    Returns
    -------
    str

    Example
    -------
    >>> print(format_alignment(worst_utterances([("u1", ["a", "b"], ["a", "c"])])[0]))
    u1, error rate 50.0%: 0 insertions, 0 deletions, 1 substitution
    a ; b
    = ; S
    a ; c
    """
    kinds = ("insertions", "deletions", "substitutions")
    counts = ", ".join(f"{utterance[k]} {k if utterance[k] != 1 else k[:-1]}" for k in kinds)
    lines = io.StringIO()
    print_alignments([utterance], file=lines, print_header=False)
    return f"{utterance['key']}, error rate {utterance['WER']:.1f}%: {counts}\n{lines.getvalue()}"[:-1]


def _details(triples, compute_alignments=False):
    triples = list(triples)
    if not triples:
        raise UserError("there is no utterance to score: the split is empty")
    ids, references, hypotheses = zip(*triples, strict=True)
    if len({*ids}) < len(ids):  # SpeechBrain would drop repeats
        repeated = next(name for name in ids if ids.count(name) > 1)
        raise UserError(f"utterance {repeated} stands twice in this split: make its ids unique")
    return wer_details_for_batch(ids, references, hypotheses, compute_alignments)
