"""Depths of training steps and of evaluation."""

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.loops import (
    ByBlock,
    Growing,
    LogNormalPoisson,
    LoopPolicy,
    Proportional,
    past,
)
from speechbrain_recursive.nn.schedule import bicycle, cycle, latent, sequence, standard, unfold
from speechbrain_recursive.nn.state import State

SECONDS = [0.1, 1.0, 3.0, 7.4, 7.6, 14.99, 15.0, 40.0]
BICYCLE = bicycle(4, 5, 2, 3)


class TestAsTheScheduleSays:
    """The default: no number stands beside the schedule that could overrule it."""

    @pytest.mark.parametrize(
        "schedule",
        [
            *(cycle(2, 5), latent(1, 5, 2, 2), standard(4), sequence(2, 3), BICYCLE),
            *(unfold(4, 6, path=(0, 3)), unfold(4, 7, unfoldable=(2, 3))),
        ],
        ids=str,
    )
    def test_at_every_step_and_in_evaluation(self, schedule):
        policy = LoopPolicy()
        assert {policy(schedule, step, 10, SECONDS) for step in range(10)} == {Depth(schedule)}
        assert policy.at_inference(schedule, SECONDS) == Depth(schedule)
        assert policy.supervises(schedule, Depth(schedule))
        assert policy.label(schedule) == str(Depth(schedule))

    def test_bicycle_trains_at_its_own_depth(self):
        """An inherited loop count once made 37 steps of these 20."""
        assert len(LoopPolicy()(BICYCLE, 0, 10, SECONDS)) == 20


def by_row(policy, seconds, step=0):
    """The counts of a batch, of 20 loops at most."""
    return policy(cycle(2, 20), step, 10, seconds).by_row("recurrent")


def test_proportional_covers_its_range_and_ignores_the_batch():
    policy = Proportional(max_seconds=15.0)
    counts = by_row(policy, SECONDS, step=3)
    assert counts == (1, 2, 4, 10, 11, 20, 20, 20)
    assert all(isinstance(count, int) for count in counts)
    for seconds, count in zip(SECONDS, counts, strict=True):
        assert policy(cycle(2, 20), 0, 10, [seconds]) == Depth.of(cycle(2, 20), count)
    assert set(by_row(policy, torch.linspace(0, 16, 500).tolist())) == set(range(1, 21))
    assert by_row(policy, torch.tensor(SECONDS)) == counts, "durations may be a tensor"


def test_proportional_does_not_round_past_whole_counts():
    seconds = [float(second) for second in range(1, 27)]
    for most in range(1, 21):
        exact = [min(most, -(-most * second // 26)) for second in range(1, 27)]
        schedule = cycle(2, most)
        assert Proportional(26.0)(schedule, 0, 1, seconds) == Depth.of(schedule, exact)


def counts(policy, schedule, steps, total):
    """The one loop count of each step."""
    return [policy(schedule, step, total, SECONDS).loops for step in steps]


def test_growing_gives_every_count_an_equal_share():
    policy, schedule = Growing(4), latent(1, 3, 1, 1)
    assert counts(policy, schedule, range(12), 12) == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert counts(policy, schedule, [15], 12) == [4], "no more than the most when training runs on"
    assert counts(policy, schedule, range(3), 3) == [1, 2, 3]
    assert counts(Growing(), cycle(2, 4), range(4), 4) == [1, 2, 3, 4], "the schedule's own"
    assert policy.at_inference(schedule, SECONDS) == Depth(schedule)


def test_log_normal_poisson_has_the_moments_of_its_definition():
    mean, sigma = 8, 0.5
    draws = np.array(counts(LogNormalPoisson(sigma), cycle(1, mean), range(8000), 8000))
    assert draws.min() >= 1
    assert draws.mean() == pytest.approx(mean + 1, abs=0.25)
    variance = mean + mean**2 * (np.exp(sigma**2) - 1)
    assert draws.var() == pytest.approx(variance, rel=0.15)


def test_draws_come_from_seed_and_step_alone():
    schedule = cycle(1, 8)
    policy, other = LogNormalPoisson(seed=1), LogNormalPoisson(seed=2)
    draws = counts(policy, schedule, range(50), 100)
    np.random.seed(7)
    torch.manual_seed(7)
    assert counts(LogNormalPoisson(seed=1), schedule, reversed(range(50)), 7) == draws[::-1]
    assert draws != counts(other, schedule, range(50), 100)
    assert draws[1:] != counts(other, schedule, range(49), 100)
    assert len(set(draws)) > 5


def test_draws_can_be_limited():
    draws = counts(LogNormalPoisson(most=9), cycle(1, 8), range(100), 100)
    assert max(draws) == 9
    assert min(draws) < 9


class TestByBlock:
    def test_depths_of_their_own_reach_the_encoder(self, stock):
        schedule = bicycle(2, 2, 3, 2)
        policy = ByBlock(phonetic=Proportional(15.0), linguistic=Growing())
        encoder = RecursiveEncoder(stock(4), schedule)
        runs = []
        encoder.layers[1].register_forward_hook(lambda m, a, output: runs.append(len(output[0])))
        x, seconds = torch.rand(3, 5, 16), [3.0, 8.0, 15.0]
        depth = policy(schedule, 0, 10, seconds)
        assert str(depth) == "6 (phonetic x1-3)"
        encoder.run(State(x), depth)
        assert runs == [3, 2, 1]
        runs.clear()
        encoder.run(State(x))
        assert runs == [3, 3, 3]

    def test_in_evaluation(self):
        policy = ByBlock(phonetic=Growing(), linguistic=Proportional(max_seconds=4.0))
        depth = policy.at_inference(bicycle(4, 5, 2, 8), [1.0, 4.0])
        assert depth.schedule.loops == {"phonetic": 2, "linguistic": 8}
        assert depth.rows == (("linguistic", (2, 8)),)

    def test_blocks_without_a_policy_run_as_the_schedule_says(self):
        assert ByBlock()(BICYCLE, 0, 10, SECONDS) == Depth(BICYCLE)
        assert str(ByBlock(phonetic=Growing())(BICYCLE, 0, 10, SECONDS)) == "17 (linguistic x3)"

    @pytest.mark.parametrize("name", ["head", "middle"])
    def test_names_a_block_that_does_not_recur(self, name):
        with pytest.raises(ValueError, match=f"no block '{name}' that recurs in the schedule"):
            ByBlock(**{name: Growing()})(BICYCLE, 0, 10, SECONDS)


def test_from_yaml():
    hparams = load_hyperpyyaml(
        "loop_policy: !new:speechbrain_recursive.nn.loops.Growing\n  most: 20\n"
        "blocks: !new:speechbrain_recursive.nn.loops.ByBlock\n  linguistic: !ref <loop_policy>\n"
    )
    assert counts(hparams["loop_policy"], cycle(1, 5), [0, 8], 9) == [1, 18]
    assert hparams["blocks"](BICYCLE, 0, 9, SECONDS).schedule.loops == {"phonetic": 2, "linguistic": 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Growing(0), "most must be a whole number of at least 1, got 0"),
        (lambda: Growing(2.0), "got 2.0"),
        (lambda: Growing(True), "most"),
        (lambda: Proportional(0.0), "max_seconds must be positive"),
        (lambda: Proportional(float("nan")), "max_seconds must be positive"),
        (lambda: LogNormalPoisson(most=0), "most"),
        (lambda: past(0), "loops must be a whole number of at least 1, got 0"),
    ],
)
def test_errors_name_the_setting(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_at_inference_each_policy_makes_the_schedules_loops():
    for policy in (LoopPolicy(), Growing(8), LogNormalPoisson(), ByBlock(phonetic=Growing(8))):
        assert policy.at_inference(BICYCLE, [1.0, 4.0]) == Depth(BICYCLE)
        assert policy.label(BICYCLE) == "20 (phonetic x2, linguistic x3)"
    length = Proportional(max_seconds=4.0)
    assert length.at_inference(cycle(2, 8), [1.0, 4.0]).by_row("recurrent") == (2, 8)


def test_labels_show_the_range_of_counts():
    length = Proportional(max_seconds=4.0)
    assert length.label(latent(4, 20, 2, 2)) == "1-20"
    assert length.label(BICYCLE) == "20 (phonetic x1-2, linguistic x1-3)"
    assert length.label(cycle(4, 1)) == "1"
    assert ByBlock(linguistic=length).label(BICYCLE) == "20 (phonetic x2, linguistic x1-3)"


class TestSupervised:
    """Which depths have a loss in training."""

    def counts(self, policy, schedule):
        return [n for n in range(1, 6) if policy.supervises(schedule, Depth.of(schedule, n))]

    def test_of_one_block(self):
        assert self.counts(LoopPolicy(), cycle(2, 3)) == [3]
        assert self.counts(Growing(3), cycle(2, 2)) == [1, 2, 3]
        assert self.counts(Growing(), cycle(2, 3)) == [1, 2, 3]
        assert self.counts(Proportional(4.0), cycle(2, 3)) == [1, 2, 3]
        assert self.counts(LogNormalPoisson(most=3), cycle(2, 2)) == [1, 2, 3]
        assert LogNormalPoisson().supervises(cycle(2, 2), Depth.of(cycle(2, 2), 99))

    def test_not_the_schedules_own_if_training_never_reaches_it(self):
        assert self.counts(Growing(2), cycle(2, 4)) == [1, 2]

    def test_of_several_blocks(self):
        schedule = bicycle(4, 5, 3, 3)
        one, four = ({"phonetic": 1, "linguistic": n} for n in (3, 4))
        for policy in (Growing(3), Proportional(4.0), LogNormalPoisson(most=3)):
            assert policy.supervises(schedule, Depth.of(schedule, one))
            assert not policy.supervises(schedule, Depth.of(schedule, four))
        for policy in (LoopPolicy(), ByBlock()):
            assert policy.supervises(BICYCLE, Depth.of(BICYCLE, {"phonetic": 2, "linguistic": 3}))
            assert not policy.supervises(BICYCLE, Depth.of(BICYCLE, {"phonetic": 3, "linguistic": 2}))
        both = ByBlock(phonetic=Growing())
        assert both.supervises(BICYCLE, Depth.of(BICYCLE, {"phonetic": 1, "linguistic": 3}))
        assert not both.supervises(BICYCLE, Depth.of(BICYCLE, {"phonetic": 1, "linguistic": 2}))

    def test_no_other_schedule(self):
        for policy in (LoopPolicy(), Growing(9)):
            assert not policy.supervises(standard(4), Depth(standard(3)))
            assert not policy.supervises(cycle(2, 3), Depth(cycle(4, 3)))
            assert not policy.supervises(cycle(2, 3), Depth(standard(2)))
            assert not policy.supervises(latent(2, 3, 1, 1), Depth(cycle(4, 3)))
