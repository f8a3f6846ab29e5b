"""Masks: how long, where, and for whom; speeds: of whom, and how long the result is."""

import math

import pytest
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.time_domain import SpeedPerturb

from speechbrain_recursive.training.augment import TimeMasks, UtteranceSpeeds, spec_augment

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


@pytest.mark.parametrize("widths", [[1, 9], [10, 19], [0, 27], [5, 5]])
def test_all_widths_are_drawn_up_to_the_greatest(widths):
    augment = spec_augment(1, widths, 1, widths)
    torch.manual_seed(0)
    bands, frames = set(), set()
    for _ in range(40):
        dropped = augment(torch.ones(64, 200, 80), torch.ones(64))[0] == 0
        bands |= set(dropped.all(1).sum(1).tolist())
        frames |= set(dropped.all(2).sum(1).tolist())
    assert max(bands) == max(frames) == widths[1]
    assert set(range(widths[0], widths[1] + 1)) <= bands & frames


def test_so_many_masks_of_each_kind():
    augment = spec_augment(freq_masks=0, freq_widths=[10, 19], time_masks=3, time_widths=[2, 2])
    torch.manual_seed(0)
    dropped = augment(torch.ones(64, 500, 80), torch.ones(64))[0] == 0
    assert not dropped.all(1).any()
    assert max(len(runs(row)) for row in dropped.all(2)) == 3


SPEEDS = [80, 100, 125]
SAMPLES = [4000, 3999, 1601]


def utterances():
    torch.manual_seed(1)
    return [torch.randn(count) for count in SAMPLES]


def batch():
    wavs = torch.nn.utils.rnn.pad_sequence(utterances(), batch_first=True)
    return wavs, torch.tensor(SAMPLES) / wavs.shape[1]


def cut(wavs, lengths):
    """Utterances without their padding, which is silent."""
    counts = torch.round(lengths * wavs.shape[1]).long().tolist()
    assert max(counts) == wavs.shape[1]
    assert not any(wav[count:].any() for wav, count in zip(wavs, counts, strict=True))
    return [wav[:count] for wav, count in zip(wavs, counts, strict=True)]


@pytest.mark.parametrize("seed", range(10))
def test_each_utterance_becomes_what_speechbrain_makes_of_it_alone(seed):
    torch.manual_seed(seed)
    found = cut(*UtteranceSpeeds(16000, SPEEDS)(*batch()))
    torch.manual_seed(seed)
    stock = SpeedPerturb(16000, SPEEDS)
    for wav, one in zip(utterances(), found, strict=True):
        torch.testing.assert_close(one, stock(wav[None])[0])


@pytest.mark.parametrize("speed", [80, 95, 100, 105])
def test_lengths_are_those_of_the_speed(speed):
    found = cut(*UtteranceSpeeds(16000, [speed])(*batch()))
    assert [len(wav) for wav in found] == [math.ceil(count * 100 / speed) for count in SAMPLES]
    if speed == 100:
        assert all(torch.equal(one, wav) for one, wav in zip(found, utterances(), strict=True))


def test_utterances_of_a_batch_draw_for_themselves():
    torch.manual_seed(0)
    wavs, lengths = torch.randn(200, 400), torch.ones(200)
    drawn = [len(wav) for wav in cut(*UtteranceSpeeds(16000, SPEEDS)(wavs, lengths))]
    assert {count: drawn.count(count) for count in (500, 400, 320)} == pytest.approx(
        dict.fromkeys((500, 400, 320), 67), abs=20
    )


def test_autocast_does_not_coarsen_the_audio():
    speeds = UtteranceSpeeds(16000, [95])
    plain = speeds(*batch())[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(speeds(*batch())[0], plain)


def test_it_is_built_where_modules_take_no_memory():
    with torch.device("meta"):
        UtteranceSpeeds(16000, [95, 100, 105])
