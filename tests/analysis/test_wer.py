"""Error rates, corner cases of counting, and the confidence interval."""

import numpy as np
import pytest

from speechbrain_recursive.analysis.wer import (
    bootstrap_interval,
    error_rate,
    format_alignment,
    worst_utterances,
)
from speechbrain_recursive.errors import UserError


def test_counts_each_kind_of_error():
    triples = [
        ("sub", ["a", "b", "c", "d"], ["a", "x", "c", "d"]),
        ("del", ["a", "b", "c"], ["a", "c"]),
        ("ins", ["a", "b", "c"], ["a", "b", "b", "c"]),
    ]
    rate = error_rate(triples)
    kinds = {
        u["key"]: (u["substitutions"], u["deletions"], u["insertions"])
        for u in worst_utterances(triples)
    }
    assert kinds == {"sub": (1, 0, 0), "del": (0, 1, 0), "ins": (0, 0, 1)}
    assert rate.errors == (1, 1, 1)
    assert rate.lengths == (4, 3, 3)
    assert rate.wer == pytest.approx(30.0)


def test_empty_hypothesis_is_all_deletions():
    triples = [("u", ["a", "b", "c"], [])]
    (worst,), rate = worst_utterances(triples), error_rate(triples)
    assert (worst["deletions"], worst["insertions"], worst["substitutions"]) == (3, 0, 0)
    assert rate.wer == rate.low == rate.high == 100.0


def test_empty_reference_adds_its_insertions_and_no_length():
    rate = error_rate([("silence", [], ["a", "b"]), ("speech", list("wxyz"), list("wxyz"))])
    assert (rate.errors, rate.lengths, rate.wer) == ((2, 0), (0, 4), 50.0)
    assert np.isfinite([rate.low, rate.high]).all()


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([], "no utterance"),
        ([("u", [], ["a"])], "references are empty"),
        ([("u", ["a"], ["a"]), ("u", ["b"], ["b"])], "u stands twice"),
    ],
)
def test_refuses_what_has_no_rate(triples, message):
    with pytest.raises(UserError, match=message):
        error_rate(triples)


def test_rate_is_over_tokens_and_not_the_mean_of_utterances():
    rate = error_rate([("short", ["a"], ["b"]), ("long", ["a"] * 9, ["a"] * 9)])
    assert rate.wer == pytest.approx(10.0)  # the mean over utterances would be 50


def test_interval_is_seeded_and_holds_the_rate():
    generator = np.random.default_rng(5)
    triples = [
        (str(i), ["a"] * 10, ["b" if error else "a" for error in generator.random(10) < 0.2])
        for i in range(80)
    ]
    rate = error_rate(triples)
    assert rate.low < rate.wer < rate.high
    assert error_rate(triples) == rate
    assert error_rate(triples, seed=1) != rate
    ends = bootstrap_interval(rate.errors[:20], rate.lengths[:20])
    assert ends[1] - ends[0] > rate.high - rate.low  # fewer utterances, wider interval


def test_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        lengths = generator.integers(3, 15, size=60)
        low, high = bootstrap_interval(generator.binomial(lengths, 0.15), lengths, resamples=1000)
        covered += low <= 15.0 <= high
    assert 0.89 < covered / 300 < 0.98


def test_worst_utterances_come_first_and_are_aligned():
    worst = worst_utterances(
        [
            ("right", ["a"], ["a"]),
            ("half", ["a", "b"], ["a", "c"]),
            ("one", ["a"], ["b"]),
            ("all", ["a", "b"], ["c"]),
        ],
        count=3,
    )
    assert [utterance["key"] for utterance in worst] == ["all", "one", "half"]
    header, reference, operations, hypothesis = format_alignment(worst[2]).splitlines()
    assert header.startswith("half, error rate 50.0%")
    assert "1 substitution" in header
    assert [line.split(" ; ") for line in (reference, operations, hypothesis)] == [
        ["a", "b"],
        ["=", "S"],
        ["a", "c"],
    ]


def test_no_worst_utterance_where_all_are_right():
    assert worst_utterances([("u", ["a"], ["a"])]) == []
