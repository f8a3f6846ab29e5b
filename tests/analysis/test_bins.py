"""Bins contain the right utterances, and their changes add up to the whole."""

import random
import re

import pytest

from speechbrain_recursive.analysis.bins import bins_table, compare_by_bins
from speechbrain_recursive.analysis.pairs import Pair
from speechbrain_recursive.analysis.wer import error_rate


def pair_of(counts):
    """A pair of runs from (tokens, errors of the first, errors of the second) of each utterance."""

    def side(which):
        return [
            (f"u{i}", "x" * c[0], "y" * c[which] + "x" * (c[0] - c[which])) for i, c in enumerate(counts)
        ]

    return Pair("test", "greedy", ("1", "4"), "wer", side(1), side(2))


def test_edges_belong_to_the_lower_bin():
    found = compare_by_bins(
        pair_of([(10, 0, 1), (10, 1, 0), (20, 3, 3), (5, 1, 1), (4, 2, 0), (31, 31, 31)])
    )
    by_error = {row["bin"]: row["utterances"] for row in found["error"]}
    assert by_error == {"0": 1, "0-10": 1, "10-20": 2, "30-50": 1, "> 50": 1}
    by_length = {row["bin"]: row["utterances"] for row in found["length"]}
    assert by_length == {"1-5": 2, "6-10": 2, "16-20": 1, "> 30": 1}


def test_figures_of_a_bin():
    found = compare_by_bins(pair_of([(10, 4, 1), (30, 12, 9), (20, 8, 10), (20, 0, 2)]))
    (perfect, hard) = found["error"]
    assert (hard["bin"], hard["tokens"], hard["better"], hard["worse"]) == ("30-50", 60, 2, 1)
    assert hard["first"] == pytest.approx(40.0)
    assert hard["second"] == pytest.approx(100 * 20 / 60)
    assert hard["change"] == pytest.approx(-100 * 4 / 60)
    assert hard["relative"] == pytest.approx(-100 * 4 / 24)
    assert hard["low"] < hard["change"] < hard["high"]
    assert perfect["relative"] is None
    table = bins_table(found["error"], "WER % of A", "wer")
    assert re.search(r"\| 0  .* \+10\.0 \[\+10\.0, \+10\.0\] \| +- \|", table)


def test_bins_add_up_to_the_whole():
    draw = random.Random(3)
    counts = []
    for _ in range(200):
        n = draw.randint(1, 40)
        counts.append((n, draw.randint(0, n), draw.randint(0, n)))
    pair = pair_of(counts)
    for rows in compare_by_bins(pair).values():
        assert sum(row["utterances"] for row in rows) == 200
        tokens = sum(row["tokens"] for row in rows)
        for side, key in ((pair.first, "first"), (pair.second, "second")):
            whole = sum(row[key] * row["tokens"] for row in rows) / tokens
            assert whole == pytest.approx(error_rate(side).wer)


def test_an_empty_reference_has_no_error_rate():
    found = compare_by_bins(pair_of([(0, 0, 0), (3, 1, 0)]))
    assert [row["utterances"] for row in found["error"] + found["length"]] == [1, 1]
