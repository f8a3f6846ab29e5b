"""The statistics of paired timing; nothing here is timed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

_PATH = Path(__file__).parents[2] / "benchmarks" / "pairs.py"
_SPEC = importlib.util.spec_from_file_location("pairs", _PATH)
pairs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(pairs)


def test_order_alternates_and_warm_up_is_not_counted():
    calls, now = [], [0.0]

    def work(name, seconds):
        def call():
            calls.append(name)
            now[0] += seconds

        return call

    ours, theirs = pairs.time_pairs(
        work("ours", 1.0), work("theirs", 3.0), pairs=4, warmup=1, clock=lambda: now[0]
    )
    assert calls[2:] == ["ours", "theirs", "theirs", "ours"] * 2
    assert len(calls) == 10
    assert ours == [1.0] * 4
    assert theirs == [3.0] * 4


def test_interval_runs_from_the_fourth_to_the_twelfth_of_fifteen():
    ratios = np.random.default_rng(0).permutation(np.linspace(1.0, 2.4, 15))
    denominators = np.linspace(5, 50, 15)  # slow pairs and fast ones weigh the same
    result = pairs.median_ratio(ratios * denominators, denominators)
    assert tuple(result) == pytest.approx((1.7, 1.3, 2.1))


def test_interval_covers_the_true_median_as_often_as_it_says():
    generator = np.random.default_rng(1)
    results = [
        pairs.median_ratio(generator.lognormal(0.1, 0.3, size=15), np.ones(15)) for _ in range(300)
    ]
    covered = np.mean([result.low <= np.exp(0.1) <= result.high for result in results])
    assert 0.93 < covered < 0.995  # 96.5% by the binomial distribution


def test_one_stray_pair_does_not_move_the_verdict():
    steady = [1.0] * 14 + [30.0]
    assert tuple(pairs.median_ratio(steady, [1.0] * 15)) == (1.0, 1.0, 1.0)


def test_too_few_pairs_are_refused():
    with pytest.raises(ValueError, match="5 pairs"):
        pairs.median_ratio([1.0] * 5, [1.0] * 5)
