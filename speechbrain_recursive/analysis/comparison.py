"""Compares two runs on a test set: error rates, their difference, and its significance."""

from collections.abc import Sequence

from speechbrain_recursive.analysis.pairs import Pair
from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.analysis.significance import bootstrap_difference, mapsswe
from speechbrain_recursive.analysis.wer import error_rate


def compare(pair: Pair) -> dict:
    """Compare two runs on one test set.

    Arguments
    ---------
    pair : Pair
        From :func:`speechbrain_recursive.analysis.pairs.read_pairs`.

    Returns
    -------
    dict
        ``split``, ``decoder``, ``labels`` (the depths of both runs), ``metric``, ``first`` and
        ``second`` (each with its rate in percent and the interval's ends ``low`` and ``high``),
        ``difference`` (``points``, ``low``, ``high``, ``improved``) and ``mapsswe`` (``segments``,
        ``mean``, ``std``, ``z``, ``p``, ``significant``).
    """
    first, second = error_rate(pair.first), error_rate(pair.second)
    test = mapsswe(pair.first, pair.second)
    return {
        "split": pair.split,
        "decoder": pair.decoder,
        "labels": list(pair.labels),
        "metric": pair.metric,
        "first": {pair.metric: first.wer, "low": first.low, "high": first.high},
        "second": {pair.metric: second.wer, "low": second.low, "high": second.high},
        "difference": vars(bootstrap_difference(first.errors, second.errors, first.lengths)),
        "mapsswe": {**vars(test), "significant": test.significant},
    }


def comparison_table(rows: Sequence[dict]) -> str:
    """Format comparisons as a Markdown table.

    Arguments
    ---------
    rows : sequence of dict
        From :func:`compare`, one per test set.

    Returns
    -------
    str
    """
    metric = rows[0]["metric"]
    rate = metric.upper()
    head = ["split", "decoder", "depth A", "depth B", f"{rate} % A [95%]", f"{rate} % B [95%]"]
    head += ["B - A, points [95%]", "P(B better)", "segments", "z", "p", "MAPSSWE at 5%"]
    lines = []
    for row in rows:
        a, b, gap, test = row["first"], row["second"], row["difference"], row["mapsswe"]
        better = "B better" if test["z"] > 0 else "A better"
        verdict = better if test["significant"] else "no difference"
        lines.append(
            [row["split"], row["decoder"], *row["labels"]]
            + [f"{side[metric]:.2f} [{side['low']:.2f}, {side['high']:.2f}]" for side in (a, b)]
            + [f"{gap['points']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]", f"{gap['improved']:.3f}"]
            + [str(test["segments"]), f"{test['z']:.3f}", f"{test['p']:.3g}", verdict]
        )
    return markdown_table(head, lines)
