"""Compares two runs by bins of utterances: by the first run's error rate, by reference length."""

from itertools import pairwise

import numpy as np

from speechbrain_recursive.analysis.pairs import Pair
from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.analysis.significance import bootstrap_difference
from speechbrain_recursive.analysis.wer import error_rate

ERROR_EDGES = (0, 10, 20, 30, 50)  # percent; a bin includes its upper end
LENGTH_EDGES = (5, 10, 15, 20, 30)  # tokens

NOTE = (
    "Bins by error rate are those of the first run, so part of their change is regression to the mean: "
    "utterances on which the first run did badly by chance improve in any other run, and those on which "
    "it did well by chance get worse. Bins by length do not have this effect."
)


def compare_by_bins(pair: Pair) -> dict[str, list[dict]]:
    """Change of the error rate from the first run to the second, by bins of utterances.

    Arguments
    ---------
    pair : Pair
        Hypotheses of the two runs. Utterances with an empty reference have no error rate and are left
        out.

    Returns
    -------
    dict of str to list of dict
        ``error`` holds the bins by the first run's error rate of the utterance, ``length`` the bins by
        the number of reference tokens. Each row has ``bin`` (its name), ``utterances``, ``tokens``,
        ``first`` and ``second`` (rates in percent over the bin), ``change`` in points with the ends
        ``low`` and ``high`` of its bootstrap interval, ``relative`` change in percent (None if the
        first run has no errors), ``better`` and ``worse`` (numbers of utterances). Empty bins are left
        out.

    Example
    -------
    >>> words = "a b c d".split()
    >>> first = [("u1", words, "a b c x".split()), ("u2", words, words)]
    >>> pair = Pair("test", "greedy", ("1", "4"), "wer", first, [("u1", words, words), first[1]])
    >>> [(row["bin"], row["change"]) for row in compare_by_bins(pair)["error"]]
    [('0', 0.0), ('20-30', -25.0)]
    """
    first, second = error_rate(pair.first), error_rate(pair.second)
    counts = np.array([first.errors, second.errors, first.lengths])
    counts = counts[:, counts[2] > 0]
    names = ["0", *_ranges(ERROR_EDGES, 0)]
    by_error = np.searchsorted(ERROR_EDGES, 100.0 * counts[0] / counts[2])
    lengths = _ranges((0, *LENGTH_EDGES), 1)
    by_length = np.searchsorted(LENGTH_EDGES, counts[2])
    return {"error": _rows(counts, by_error, names), "length": _rows(counts, by_length, lengths)}


def bins_table(rows: list[dict], title: str, metric: str) -> str:
    """Format bins as a Markdown table.

    Arguments
    ---------
    rows : list of dict
        One of the lists that :func:`compare_by_bins` returns.
    title : str
        Heading of the first column.
    metric : str
        ``"wer"`` or ``"cer"``.

    Returns
    -------
    str
    """
    rate = metric.upper()
    head = [title, "utterances", "tokens", f"{rate} % A", f"{rate} % B", "B - A, points [95%]"]
    head += ["relative %", "better", "worse"]
    lines = []
    for row in rows:
        change = f"{row['change']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
        relative = "-" if row["relative"] is None else f"{row['relative']:+.1f}"
        counts = [str(row[key]) for key in ("bin", "utterances", "tokens")]
        rates = [f"{row[key]:.1f}" for key in ("first", "second")]
        lines.append([*counts, *rates, change, relative, str(row["better"]), str(row["worse"])])
    return markdown_table(head, lines)


def _ranges(edges: tuple[int, ...], step: int) -> list[str]:
    """Names of the bins between the edges, from ``step`` above the lower one, and above the last."""
    return [f"{low + step}-{high}" for low, high in pairwise(edges)] + [f"> {edges[-1]}"]


def _rows(counts: np.ndarray, bins: np.ndarray, names: list[str]) -> list[dict]:
    """One row per bin; ``counts`` [3, N] holds the errors of both runs and the lengths."""
    rows = []
    for index, name in enumerate(names):
        chosen = counts[:, bins == index]
        if not chosen.shape[1]:
            continue
        first, second, tokens = chosen.sum(axis=1).tolist()
        gap = bootstrap_difference(*chosen)
        rows.append(
            {
                "bin": name,
                "utterances": chosen.shape[1],
                "tokens": tokens,
                "first": 100.0 * first / tokens,
                "second": 100.0 * second / tokens,
                "change": gap.points,
                "low": gap.low,
                "high": gap.high,
                "relative": 100.0 * (second - first) / first if first else None,
                "better": int((chosen[1] < chosen[0]).sum()),
                "worse": int((chosen[1] > chosen[0]).sum()),
            }
        )
    return rows
