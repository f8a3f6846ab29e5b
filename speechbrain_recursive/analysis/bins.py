"""Where a run differs from another: by how wrong the first one was, and by length of transcript."""

from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from speechbrain_recursive.analysis.pairs import Pair
from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.analysis.significance import bootstrap_difference
from speechbrain_recursive.analysis.wer import error_rate

ERROR_EDGES = (0, 10, 20, 30, 50)  # percent; a bin holds its upper end
LENGTH_EDGES = (5, 10, 15, 20, 30)  # tokens

NOTE = (
    "Bins by error rate are those of the first run, so part of their change is regression to the mean: "
    "utterances that it happened to get wrong go better, and those it happened to get right go worse, "
    "in any other run. Bins by length are free of this."
)


def compare_by_bins(pair: Pair) -> dict[str, list[dict]]:
    """Change of the error rate from the first run to the second, by bins of utterances.

    Arguments
    ---------
    pair : Pair
        What the two runs heard. Utterances with an empty reference have no error rate and are left
        out.

    Returns
    -------
    dict of str to list of dict
        Under ``error`` the bins by the first run's error rate of the utterance, under ``length``
        those by reference tokens. Each row has ``bin`` (its name), ``utterances``, ``tokens``,
        ``first`` and ``second`` (rates in percent over the bin), ``change`` in points with the ends
        ``low`` and ``high`` of its bootstrap interval, ``relative`` change in percent (None where the
        first run has no errors), ``better`` and ``worse`` (utterances). Empty bins are not there.

    Example
    -------
    >>> words = "a b c d".split()
    >>> first = [("u1", words, "a b c x".split()), ("u2", words, words)]
    >>> pair = Pair("test", "greedy", ("1", "4"), "wer", first, [("u1", words, words), first[1]])
    >>> [(row["bin"], row["change"]) for row in compare_by_bins(pair)["error"]]
    [('0', 0.0), ('20-30', -25.0)]
    """
    first, second = error_rate(pair.first), error_rate(pair.second)
    told = np.array([first.errors, second.errors, first.lengths])
    told = told[:, told[2] > 0]
    names = ["0", *_ranges(ERROR_EDGES, str)]
    by_error = [names[bisect_left(ERROR_EDGES, 100.0 * e / n)] for e, _, n in told.T.tolist()]
    lengths = _ranges((0, *LENGTH_EDGES), lambda edge: str(edge + 1))
    by_length = [lengths[bisect_left(LENGTH_EDGES, n)] for n in told[2].tolist()]
    return {
        "error": _rows(told, np.array(by_error), names),
        "length": _rows(told, np.array(by_length), lengths),
    }


def bins_table(rows: list[dict], title: str, metric: str) -> str:
    """Bins as a Markdown table (str).

    Arguments
    ---------
    rows : list of dict
        Of one way of binning, see `compare_by_bins`.
    title : str
        What the bins are of.
    metric : str
        ``"wer"`` or ``"cer"``.
    """
    rate = metric.upper()
    head = [title, "utterances", "tokens", f"{rate} % A", f"{rate} % B", "B - A, points [95%]"]
    head += ["relative %", "better", "worse"]
    lines = [
        [
            row["bin"],
            str(row["utterances"]),
            str(row["tokens"]),
            f"{row['first']:.1f}",
            f"{row['second']:.1f}",
            f"{row['change']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]",
            "-" if row["relative"] is None else f"{row['relative']:+.1f}",
            str(row["better"]),
            str(row["worse"]),
        ]
        for row in rows
    ]
    return markdown_table(head, lines)


def _ranges(edges: tuple[int, ...], lowest: Callable[[int], str]) -> list[str]:
    """Names of the bins between edges and above the last."""
    return [f"{lowest(low)}-{high}" for low, high in pairwise(edges)] + [f"> {edges[-1]}"]


def _rows(told: np.ndarray, of: np.ndarray, names: list[str]) -> list[dict]:
    """A row for each bin; `told` [3, n] holds errors of both runs and lengths."""
    rows = []
    for name in names:
        chosen = told[:, of == name]
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
