"""Time masks: how long, where, and for whom."""

import math

import pytest
import torch
from speechbrain.augment.augmenter import Augmenter

from speechbrain_recursive.training.augment import TimeMasks

FRAMES = torch.tensor([200, 120, 40])


def masked(count, ratio, seed, width=200, longest=1000):
    """True where a batch of ones was masked [3, width]."""
    torch.manual_seed(seed)
    x = torch.ones(3, width, 4)
    out = TimeMasks(count, longest, ratio)(x, FRAMES / width)
    assert x.eq(1).all(), "the input is left as it was"
    assert out.eq(out[..., :1]).all(), "whole frames"
    return out[..., 0] == 0


def runs(row):
    """Lengths of the masked stretches of one utterance."""
    edges = torch.diff(row.int(), prepend=torch.zeros(1), append=torch.zeros(1))
    return (torch.nonzero(edges == -1) - torch.nonzero(edges == 1)).flatten().tolist()


@pytest.mark.parametrize("ratio", [0.05, 0.25, 1.0])
def test_one_mask_is_one_stretch_no_longer_than_its_part_of_the_utterance(ratio):
    longest = torch.zeros(3)
    for seed in range(200):
        for row, mask in enumerate(masked(1, ratio, seed)):
            assert len(runs(mask)) <= 1
            longest[row] = max(longest[row], int(mask.sum()))
    bound = torch.tensor([math.ceil(ratio * n) for n in FRAMES.tolist()])
    assert (longest <= bound).all()
    assert (longest >= 0.9 * bound - 1).all(), "lengths reach up to the bound"


def test_no_mask_is_longer_than_the_longest():
    found = torch.stack([masked(1, 0.25, seed, longest=20).sum(1) for seed in range(200)]).amax(0)
    assert found.tolist() == pytest.approx([20, 20, 10], abs=1)


def test_masks_stay_within_the_utterance_and_reach_all_of_it():
    seen = sum(masked(2, 0.1, seed) for seed in range(600))
    for row, frames in zip(seen, FRAMES.tolist(), strict=True):
        assert row[frames:].eq(0).all()
        assert row[:frames].gt(0).all()


def test_so_many_masks_each_row_its_own():
    found = [len(runs(row)) for seed in range(50) for row in masked(3, 0.1, seed)[:1]]
    assert max(found) == 3
    one, other = TimeMasks(2, 100, 0.2)(torch.ones(2, 200, 1), torch.ones(2))
    assert not torch.equal(one, other)


def test_something_is_masked():
    parts = torch.stack([masked(2, 0.05, seed).sum(1) / FRAMES for seed in range(300)]).mean(0)
    assert parts.tolist() == pytest.approx([0.05] * 3, abs=0.006), (
        "two masks of half the bound on average"
    )


def test_padding_does_not_matter():
    for seed in range(20):
        narrow, wide = masked(2, 0.2, seed), masked(2, 0.2, seed, width=311)
        assert torch.equal(narrow, wide[:, :200])


def test_it_works_in_speechbrains_augmenter():
    augmenter = Augmenter(augmentations=[TimeMasks(2, 100, 0.5)], concat_original=False)
    torch.manual_seed(0)
    out, lengths = augmenter(torch.ones(3, 200, 4), FRAMES / 200)
    torch.testing.assert_close(lengths, FRAMES / 200)
    for row, frames in zip(out[..., 0], FRAMES.tolist(), strict=True):
        assert row[:frames].eq(0).any()
        assert row[frames:].eq(1).all()
