"""Layer dropout: the rate of each step, and the numbers that runs share."""

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.layer_dropout import LayerDropout
from speechbrain_recursive.nn.schedule import cycle, latent, standard, unfold
from speechbrain_recursive.nn.state import State


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("schedule", [standard(12), unfold(3, 7), cycle(2, 3)], ids=str)
def test_steps_are_skipped_at_their_rates(schedule, rising):
    torch.manual_seed(0)
    dropout, runs, steps = LayerDropout(0.4, rising), 1500, len(schedule)
    counts = torch.zeros(steps)
    for _ in range(runs):
        counts[list(dropout.skipped(schedule, {}))] += 1
    expected = torch.tensor([0.4 * (i + 1) / steps if rising else 0.4 for i in range(steps)])
    deviation = (expected * (1 - expected) / runs).sqrt()
    assert ((counts / runs - expected).abs() < 4 * deviation).all()


def test_runs_share_the_numbers_of_one_pass_through_one_layer():
    deep, seed = unfold(4, 10), unfold(4, 4)
    dropout, seen = LayerDropout(0.5, rising=False), set()
    for number in range(20):
        torch.manual_seed(number)
        numbers = {}
        skipped = dropout.skipped(deep, numbers)
        first = [(s.layer, s.index) for s in deep if s.loop == 0]
        expected = {layer for layer, index in first if index in skipped}
        before = torch.get_rng_state()
        assert dropout.skipped(seed, numbers) == expected
        assert torch.equal(before, torch.get_rng_state()), "nothing is left to draw"
        seen.add(skipped)
    assert len(seen) > 10


def test_a_shared_number_meets_the_rate_of_each_run():
    """Layer 1 runs first in step 4 of 10, and in step 2 of 4."""
    numbers = {(layer, loop): 0.99 for layer in range(4) for loop in range(3)}
    numbers[1, 0] = 0.09
    dropout = LayerDropout(0.2)
    assert dropout.skipped(unfold(4, 10), dict(numbers)) == frozenset()  # its rate is 0.08
    assert dropout.skipped(unfold(4, 4), dict(numbers)) == {1}  # its rate is 0.1


def test_independent_runs_draw_their_own():
    torch.manual_seed(0)
    numbers, dropout = {}, LayerDropout(0.5, shared=False)
    assert len({dropout.skipped(standard(12), numbers) for _ in range(5)}) == 5
    assert numbers == {}


def test_a_rate_of_zero_draws_nothing():
    before = torch.get_rng_state()
    assert LayerDropout(0.0).skipped(standard(12), {}) == frozenset()
    assert torch.equal(before, torch.get_rng_state())


def test_the_encoder_takes_it_in_place_of_the_stock_rate(stock, batch):
    encoder = RecursiveEncoder(
        stock(3, layerdrop_prob=0.5), latent(1, 3, 1, 1), layer_dropout=LayerDropout(0.9)
    )
    state, steps = State(batch()), range(5)
    for seed in range(6):
        torch.manual_seed(seed)
        skipped = encoder.layer_dropout.skipped(encoder.schedule, {})
        torch.manual_seed(seed)
        ran = encoder.train().run(state, attention=steps).attention
        assert list(ran) == [index for index in steps if index not in skipped]
        ran = encoder.eval().run(state, attention=steps).attention
        assert list(ran) == list(steps), "nothing is skipped in evaluation"


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan")])
def test_a_rate_that_cannot_be(rate):
    with pytest.raises(UserError, match=f"layer_dropout: rate is from 0 up to below 1, not {rate}"):
        LayerDropout(rate)
