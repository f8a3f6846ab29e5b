"""Hooks that keep a batch's padding out of stock convolutions."""

import numpy as np
import pytest
import torch
from speechbrain.nnet.CNN import Conv1d, Conv2d

from speechbrain_recursive.nn.padding import (
    own_frames,
    own_statistics,
    pad_mask,
    padding,
    reflect_own_end,
    zero_padded_output,
)

FRAMES = torch.tensor([23, 16, 9, 3, 2, 1])


def rows():
    """A batch whose padding would be noticed: it holds thousands."""
    torch.manual_seed(0)
    x = torch.randn(len(FRAMES), 23, 6)
    return x.masked_fill(pad_mask(FRAMES, 23)[..., None], 1000.0)


def test_masks_and_counts_are_inverse():
    mask = pad_mask(torch.tensor([3, 1]), 4)
    assert mask.tolist() == [[False, False, False, True], [False, True, True, True]]
    assert own_frames(mask).tolist() == [3, 1]


def test_zeroes_padded_output_only_while_told():
    module = torch.nn.Conv1d(6, 6, 1)
    x = rows().transpose(1, 2)
    plain = module(x)
    zero_padded_output(module)
    zero_padded_output(module)
    assert len(module._forward_hooks) == 1
    assert torch.equal(module(x), plain)
    with padding(FRAMES):
        seen = module(x)
    assert torch.equal(seen, plain * ~pad_mask(FRAMES, 23)[:, None])
    assert torch.equal(module(x), plain)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (7, 1, 1), (31, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 2)]
)
def test_each_row_reflects_at_its_own_end(kernel, stride, dilation):
    torch.manual_seed(1)
    conv = Conv1d(4, kernel, in_channels=6, stride=stride, dilation=dilation)
    weight, bias = conv.conv.weight, conv.conv.bias
    reflect_own_end(conv)
    with padding(FRAMES) as left:
        seen = conv(rows())
        counts = left()
    reach = kernel // 2 if stride > 1 else dilation * (kernel - 1) // 2
    for row, (x, n) in enumerate(zip(rows(), FRAMES.tolist(), strict=True)):
        own = np.pad(x[:n].numpy(), ((reach, reach), (0, 0)), mode="reflect")
        own = torch.from_numpy(own).T[None]
        alone = torch.nn.functional.conv1d(own, weight, bias, stride, 0, dilation)[0].T
        assert counts[row] == len(alone)
        torch.testing.assert_close(seen[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)
    assert seen.shape[1] == counts.max()


@pytest.mark.parametrize("conv", [Conv1d(4, 5, in_channels=6), Conv2d(4, 5, in_channels=1)])
def test_without_padding_the_stock_layer_computes_to_the_bit(conv):
    x = torch.randn(2, 23, 6) if isinstance(conv, Conv1d) else torch.randn(2, 23, 6, 1)
    plain = conv(x)
    reflect_own_end(conv)
    reflect_own_end(conv)
    assert len(conv._forward_hooks) == 1
    assert torch.equal(conv(x), plain)
    with padding(None):
        assert torch.equal(conv(x), plain)


def test_a_short_row_runs_alone_where_the_stock_layer_raises():
    conv = Conv1d(4, 31, in_channels=6)
    x = torch.randn(1, 10, 6)
    with pytest.raises((RuntimeError, ValueError)):
        conv(x)
    reflect_own_end(conv)
    with padding(None):
        alone = conv(x)
    with padding(torch.tensor([10, 23])):
        batched = conv(torch.cat([torch.nn.functional.pad(x, (0, 0, 0, 13)), torch.rand(1, 23, 6)]))
    assert alone.shape == (1, 10, 4)
    torch.testing.assert_close(batched[:1, :10], alone)


def test_refuses_padding_that_it_cannot_make_exact():
    with pytest.raises(ValueError, match="reflection"):
        reflect_own_end(Conv1d(4, 5, in_channels=6, padding="valid"))
    with pytest.raises(ValueError, match="reflection"):
        reflect_own_end(Conv1d(4, 5, in_channels=6, padding_mode="constant"))


def test_a_group_norm_takes_the_statistics_of_own_frames():
    torch.manual_seed(1)
    norm, plain = torch.nn.GroupNorm(6, 6), torch.nn.GroupNorm(6, 6)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    plain.load_state_dict(norm.state_dict())
    own_statistics(norm)
    own_statistics(norm)
    assert len(norm._forward_hooks) == 1
    x = rows().transpose(1, 2)
    assert torch.equal(norm(x), plain(x))
    with padding(FRAMES):
        seen = norm(x)
    for row, n in enumerate(FRAMES.tolist()):
        own = plain(x[row : row + 1, :, :n]) if n > 1 else plain.bias[None, :, None]
        torch.testing.assert_close(seen[row : row + 1, :, :n], own, atol=1e-5, rtol=1e-5)
    assert torch.equal(seen[0], plain(x)[0])
    assert seen.isfinite().all()


def test_groups_of_several_channels_are_refused():
    with pytest.raises(ValueError, match="a group per channel, not 3 groups"):
        own_statistics(torch.nn.GroupNorm(3, 6))
