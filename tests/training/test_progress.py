"""Means that a resume does not change, and a pace that counts training alone."""

import math
from datetime import timedelta

import torch
import yaml

from speechbrain_recursive.training.progress import Means, Pace


def tenths(count):
    """Sums of these depend on their order."""
    return [torch.tensor(0.1 * 3**i) for i in range(count)]


def test_means_do_not_depend_on_when_they_are_saved():
    whole, pieces = Means(), Means()
    for i, value in enumerate(tenths(30)):
        whole.add({"b": value, "a": value / 7})
        pieces.add({"b": value, "a": value / 7})
        if i % 4 == 0:
            text = yaml.dump(pieces.state(), sort_keys=False)
            pieces = Means()
            pieces.load(yaml.safe_load(text))
    found = pieces.read()
    assert found == whole.read()
    assert list(found) == ["b", "a"]
    assert found["b"] == sum(value.item() for value in tenths(30)) / 30


def test_reading_starts_anew():
    means = Means()
    means.add({"loss": torch.tensor(1.0)})
    assert means.read() == {"loss": 1.0}
    assert means.read() == {}
    means.add({"loss": torch.tensor(3.0)})
    assert means.read() == {"loss": 3.0}


def test_numbers_that_are_not_finite_are_left_out():
    means = Means()
    for value in (1.0, math.nan, math.inf, 3.0):
        means.add({"loss": torch.tensor(value), "bad": torch.tensor(math.nan)})
    found = means.read()
    assert found["loss"] == 2.0
    assert math.isnan(found["bad"])


def test_a_bounded_number_of_tensors_is_kept():
    means = Means()
    for _ in range(2500):
        means.add({"loss": torch.ones(())})
    assert sum(map(len, means._pending.values())) == 500
    assert means.state() == {"loss": [2500.0, 2500]}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_validation_counts_for_the_time_left_alone():
    clock = Clock()
    pace = Pace(step=100, total_steps=200, clock=clock)
    pace.start()
    clock.now = 30.0
    pace.stop()
    clock.now = 50.0
    pace.start()
    pace.add({"tokens": 80.0})
    clock.now = 60.0
    found = pace.read(110)
    assert found == {
        "seconds per step": 4.0,
        "tokens per second": 2.0,
        "time left": timedelta(seconds=60 / 10 * 90),
    }
    clock.now = 65.0
    found = pace.read(115)
    assert found == {"seconds per step": 1.0, "time left": timedelta(seconds=round(65 / 15 * 85))}


def test_no_time_is_left_past_the_end():
    clock = Clock()
    pace = Pace(step=0, total_steps=1, clock=clock)
    pace.start()
    clock.now = 2.0
    assert pace.read(2)["time left"] == timedelta(0)
