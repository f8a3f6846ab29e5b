"""Loop counts of training steps."""

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.loops import (
    ByBlock,
    Fixed,
    Growing,
    LogNormalPoisson,
    Proportional,
)
from speechbrain_recursive.nn.schedule import bicycle

SECONDS = torch.tensor([0.1, 1.0, 3.0, 7.4, 7.6, 14.99, 15.0, 40.0])


def test_fixed():
    assert {Fixed(5)(step, 10, SECONDS) for step in range(10)} == {5}
    assert Fixed(5).trained == 5


def test_proportional_covers_its_range_and_ignores_the_batch():
    loops = Proportional(20, max_seconds=15.0)
    counts = loops(3, 10, SECONDS)
    assert counts.dtype == torch.long
    assert counts.tolist() == [1, 2, 4, 10, 11, 20, 20, 20]
    assert loops.trained == 20
    for row, count in enumerate(counts):
        assert loops(0, 10, SECONDS[row : row + 1]) == count
    assert set(loops(0, 1, torch.linspace(0, 16, 500)).tolist()) == set(range(1, 21))


def test_proportional_does_not_round_past_whole_counts():
    seconds = torch.arange(1.0, 27.0)
    for most in range(1, 21):
        exact = [min(most, -(-most * second // 26)) for second in range(1, 27)]
        assert Proportional(most, 26.0)(0, 1, seconds).tolist() == exact


def test_growing_gives_every_count_an_equal_share():
    loops = Growing(4, inference=3)
    assert [loops(step, 12, SECONDS) for step in range(12)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert loops(15, 12, SECONDS) == 4, "no more than L when training runs on"
    assert [Growing(4)(step, 3, SECONDS) for step in range(3)] == [1, 2, 3]
    assert (loops.trained, Growing(4).trained) == (3, 4)


def test_log_normal_poisson_has_the_moments_of_its_definition():
    mean, sigma = 8, 0.5
    loops = LogNormalPoisson(mean, sigma)
    draws = np.array([loops(step, 0, None) for step in range(8000)])
    assert draws.min() >= 1
    assert draws.mean() == pytest.approx(mean + 1, abs=0.25)
    variance = mean + mean**2 * (np.exp(sigma**2) - 1)
    assert draws.var() == pytest.approx(variance, rel=0.15)
    assert loops.trained == mean


def test_draws_depend_on_seed_and_step_alone():
    first, other = LogNormalPoisson(8, seed=1), LogNormalPoisson(8, seed=2)
    draws = [first(step, 100, SECONDS) for step in range(50)]
    torch.rand(3)
    again = LogNormalPoisson(8, seed=1)
    assert [again(step, 7, None) for step in reversed(range(50))] == draws[::-1]
    assert draws != [other(step, 100, None) for step in range(50)]
    assert draws[1:] != [other(step, 100, None) for step in range(49)]
    assert len(set(draws)) > 5


def test_draws_can_be_limited():
    draws = [LogNormalPoisson(8, most=9)(step, 0, None) for step in range(100)]
    assert max(draws) == 9
    assert min(draws) < 9


def test_blocks_of_their_own_reach_the_encoder(stock):
    loops = ByBlock(phonetic=Proportional(3, 15.0), linguistic=Growing(2))
    assert loops.trained == {"phonetic": 3, "linguistic": 2}
    encoder = RecursiveEncoder(stock(4), bicycle(2, 2, 1, 1))
    runs = []
    encoder.layers[1].register_forward_hook(lambda m, a, output: runs.append(len(output[0])))
    x, seconds = torch.rand(3, 5, 16), torch.tensor([3.0, 8.0, 15.0])
    encoder(x, loops=loops(0, 10, seconds))
    assert runs == [3, 2, 1]
    runs.clear()
    encoder(x, loops=loops.trained)
    assert runs == [3, 3, 3]


def test_from_yaml():
    hparams = load_hyperpyyaml(
        "loops: !new:speechbrain_recursive.nn.loops.Growing\n  loops: 20\n  inference: 5\n"
    )
    assert hparams["loops"](step=0, total_steps=9, seconds=SECONDS) == 1
    assert hparams["loops"].trained == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(0), "loops must be a whole number of at least 1, got 0"),
        (lambda: Fixed(2.0), "got 2.0"),
        (lambda: Growing(3, inference=0), "inference"),
        (lambda: Proportional(3, 0.0), "max_seconds must be positive"),
        (lambda: LogNormalPoisson(0), "mean"),
        (lambda: LogNormalPoisson(3, most=0), "most"),
    ],
)
def test_errors_name_the_setting(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_at_inference_each_policy_makes_its_trained_loops():
    seconds = torch.tensor([1.0, 4.0])
    for policy in (Fixed(3), Growing(8, inference=5), LogNormalPoisson(4)):
        assert policy.at_inference(seconds) == policy.trained
    length = Proportional(8, max_seconds=4.0)
    assert length.at_inference(seconds).tolist() == [2, 8]
    mixed = ByBlock(phonetic=Fixed(2), linguistic=length).at_inference(seconds)
    assert mixed["phonetic"] == 2
    assert mixed["linguistic"].tolist() == [2, 8]


def test_which_loop_counts_have_a_loss():
    assert [n for n in range(1, 6) if Fixed(3).supervises(n)] == [3]
    for policy in (Growing(3, inference=2), Proportional(3, 4.0), LogNormalPoisson(2, most=3)):
        assert [n for n in range(1, 6) if policy.supervises(n)] == [1, 2, 3]
        assert policy.supervises({"phonetic": 1, "linguistic": 3})
        assert not policy.supervises({"phonetic": 1, "linguistic": 4})
    assert LogNormalPoisson(2).supervises(99)
    both = ByBlock(phonetic=Fixed(2), linguistic=Fixed(3))
    assert both.supervises({"phonetic": 2, "linguistic": 3})
    assert not both.supervises({"phonetic": 3, "linguistic": 2})
