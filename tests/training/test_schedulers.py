"""Learning rates rise, fall and resume."""

import pytest
import torch

from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.schedulers import LinearDecay, WarmupCosine


@pytest.fixture
def optimizer():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    return torch.optim.SGD(groups, lr=9.0)


def test_warm_up_is_linear_and_the_cosine_ends_at_the_floor():
    schedule = WarmupCosine(2.0, n_warmup_steps=4, total_steps=24, floor=0.1)
    assert [schedule.at(step) for step in (1, 2, 3, 4)] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert schedule.at(14) == pytest.approx(2.0 * (0.1 + 0.9 / 2))  # half-way down
    assert schedule.at(24) == pytest.approx(0.2)
    rates = [schedule.at(step) for step in range(4, 25)]
    assert rates == sorted(rates, reverse=True)


def test_past_its_end_it_stays_at_the_floor():
    schedule = WarmupCosine(2.0, n_warmup_steps=4, total_steps=24, floor=0.1)
    assert schedule.at(25) == schedule.at(1000) == pytest.approx(0.2)


@pytest.mark.parametrize(("warmup", "total", "first"), [(0, 4, 0.854), (4, 4, 0.25), (9, 4, 1 / 9)])
def test_odd_lengths(warmup, total, first):
    schedule = WarmupCosine(1.0, warmup, total, floor=0.0)
    assert schedule.at(1) == pytest.approx(first, abs=1e-3)
    assert 0 <= schedule.at(warmup + 1) <= 1


def test_all_parameter_groups_follow(optimizer):
    schedule = WarmupCosine(1.0, n_warmup_steps=2, total_steps=6, floor=0.0)
    assert schedule(optimizer) == (9.0, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
    assert schedule(optimizer) == (0.5, 1.0)


def test_it_goes_on_from_a_checkpoint(optimizer, tmp_path):
    schedule, other = (WarmupCosine(1.0, n_warmup_steps=2, total_steps=6) for _ in range(2))
    for _ in range(3):
        schedule(optimizer)
    AtomicCheckpointer(tmp_path, {"lr": schedule}).save_checkpoint()
    AtomicCheckpointer(tmp_path, {"lr": other}).recover_if_possible()
    assert other(optimizer)[1] == schedule(optimizer)[1] == schedule.at(4)


def test_linear_decay_ends_at_zero_and_resumes(optimizer, tmp_path):
    schedule, other = (LinearDecay(2.0, n_warmup_steps=0, total_steps=8) for _ in range(2))
    rates = [schedule(optimizer)[1] for _ in range(8)]
    assert rates == pytest.approx([1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25, 0.0])
    assert schedule.at(9) == 0.0
    AtomicCheckpointer(tmp_path, {"lr": schedule}).save_checkpoint()
    AtomicCheckpointer(tmp_path, {"lr": other}).recover_if_possible()
    assert other.n_steps == 8
