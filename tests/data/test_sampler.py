import random
from itertools import chain

import pytest

from speechbrain_recursive.data.sampler import LengthBatchSampler

DURATIONS = [random.Random(i).uniform(1, 6) for i in range(300)]


def draw(epoch, **settings):
    sampler = LengthBatchSampler(DURATIONS, 15, **settings)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_item_once_and_no_batch_over_the_limit(shuffle):
    batches = draw(1, shuffle=shuffle, max_examples=6)
    assert sorted(chain(*batches)) == list(range(300))
    padded = [len(batch) * max(DURATIONS[i] for i in batch) for batch in batches]
    assert max(padded) <= 15
    assert max(map(len, batches)) == 6
    assert sum(DURATIONS) / sum(padded) > 0.9, "batches are of like lengths"
    assert sum(padded) / len(padded) > 11, "batches are full"


def test_an_item_over_the_limit_is_a_batch_of_its_own():
    assert [1] in list(LengthBatchSampler([2, 40, 2, 3], 15))


def test_order_is_a_function_of_seed_and_epoch():
    sampler = LengthBatchSampler(DURATIONS, 15, seed=1)
    sampler.set_epoch(4)
    list(sampler)
    sampler.set_epoch(2)
    assert list(sampler) == list(sampler) == draw(2, seed=1)
    drawn = [draw(epoch, seed=seed) for seed in range(3) for epoch in range(3)]
    for i, one in enumerate(drawn):
        assert all(one != other for other in drawn[:i])
    contents = [{frozenset(batch) for batch in draw(epoch)} for epoch in (1, 2)]
    assert len(contents[0] & contents[1]) < 0.5 * len(contents[0]), "neighbors change as well"


def test_evaluation_is_the_same_every_epoch_and_longest_first():
    assert draw(1, shuffle=False) == draw(2, shuffle=False, seed=9)
    longest = [max(DURATIONS[i] for i in batch) for batch in draw(1, shuffle=False)]
    assert longest == sorted(longest, reverse=True)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_ranks_share_an_epoch_in_equal_numbers(world_size):
    for epoch in range(4):
        whole = draw(epoch, seed=5)
        shares = [draw(epoch, seed=5, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert {len(share) for share in shares} == {-(-len(whole) // world_size)}
        together = sorted(chain(*shares))
        assert {tuple(batch) for batch in together} == {tuple(batch) for batch in whole}
        assert len(together) - len(whole) < world_size
