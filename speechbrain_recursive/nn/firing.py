"""Integrate-and-fire without a loop over frames (CIF-HKD, Section 2.1.1)."""

from typing import NamedTuple

import torch

VANISHING = 1e-6  # a sum of weights that cannot be scaled


class Fired(NamedTuple):
    """What fires in a batch.

    Arguments
    ---------
    states : torch.Tensor
        [B, I, d], zero past each utterance's count.
    counts : torch.LongTensor
        Firings of each utterance [B].
    boundaries : torch.Tensor
        Where each state ends [B, I], in frames: 2.25 is a quarter into the third frame.
    """

    states: torch.Tensor
    counts: torch.Tensor
    boundaries: torch.Tensor


def integrate_and_fire(
    x: torch.Tensor,
    weights: torch.Tensor,
    threshold: float = 1.0,
    tail: float | None = 0.5,
    counts: torch.Tensor | None = None,
    size: int | None = None,
) -> Fired:
    """Accumulate weights along time and fire whenever they reach the threshold.

    A state is the sum of its frames, weighted. The weight of a frame in which a state ends is split
    between that state and the next, or more. There is no loop over frames: firing i takes of each frame
    what the accumulated weights, on leaving the frame and on entering it, have in common with the
    interval from (i - 1) to i thresholds.

    Arguments
    ---------
    x : torch.Tensor
        Frames [B, U, d].
    weights : torch.Tensor
        [B, U], not negative, zero on padding.
    threshold : float
        Above 0.
    tail : float, optional
        Weight at the end of an utterance above which it fires once more. Its state is scaled to the
        weight of the others. With None, what is left does not fire.
    counts : torch.LongTensor, optional
        Number of firings [B], if the weights add up to so many thresholds but for rounding. No tail
        fires then.
    size : int, optional
        I; the highest count by default.

    Returns
    -------
    Fired

    Example
    -------
    >>> x = torch.tensor([[[1.0], [2.0], [4.0]]])
    >>> states, counts, boundaries = integrate_and_fire(x, torch.tensor([[0.5, 0.75, 0.75]]))
    >>> states.flatten().tolist(), counts.tolist(), boundaries.tolist()
    ([1.5, 3.5], [2], [[1.6666666269302368, 3.0]])
    """
    total = weights.double().cumsum(1)  # in float32, sums of a hundred tokens are off by 1e-5
    after = (total.detach() / threshold).floor()  # firings up to the end of each frame
    rest = (total - after * threshold).float()  # weight since the last of them
    before, carried = _delayed(after), _delayed(rest)
    left, ended = rest[:, -1], after[:, -1].long()
    gain = torch.ones_like(left)
    if counts is None:
        counts = ended
        if tail is not None:
            fires = left > tail
            counts = counts + fires
            gain = threshold / left.masked_fill(~fires, threshold)
    size = int(counts.max()) if size is None else size
    token = torch.arange(size, device=x.device)[:, None]
    first, last = token == before[:, None], token == after[:, None]
    share = torch.where(last, rest[:, None], threshold) - torch.where(first, carried[:, None], 0.0)
    inside = (token >= before[:, None]) & (token <= after[:, None]) & (token < counts[:, None, None])
    share = share.masked_fill(~inside, 0.0)
    share = share * torch.where(token[:, 0] == ended[:, None], gain[:, None], 1.0)[..., None]
    with without_autocast(x):
        states = torch.bmm(share, x.float()).to(x.dtype)
    return Fired(states, counts, _ends(weights.detach(), total.detach(), threshold, after, token))


def scaled(weights: torch.Tensor, pad: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Scale weights to given sums, up to the rounding of float64.

    Arguments
    ---------
    weights : torch.Tensor
        [B, U], zero on padding. If all of an utterance vanish, its frames get even weights instead.
    pad : torch.BoolTensor
        [B, U], True on padding.
    sums : torch.Tensor
        [B].

    Returns
    -------
    torch.Tensor
        [B, U], float64.
    """
    weights = weights.double()
    total = weights.sum(1, keepdim=True)
    even = ~pad / (~pad).sum(1, keepdim=True).clamp(min=1)
    share = torch.where(total > VANISHING, weights / total.clamp(min=VANISHING), even)
    return share * sums[:, None]


def without_autocast(x: torch.Tensor) -> torch.autocast:
    """A context without autocast on a tensor's device; autocast does not know the meta device."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _delayed(x):
    """The value on entering each frame, of values [B, U] on leaving it."""
    return torch.nn.functional.pad(x[:, :-1], (1, 0))


def _ends(weights, total, threshold, after, token):
    """Where each state ends [B, I], in frames; with the last weight for one that never reaches it."""
    frame = torch.arange(1, weights.shape[1] + 1, device=weights.device)
    end = ((weights > 0) * frame).amax(1, keepdim=True)
    index = (after[:, None] <= token).sum(-1)  # the frame in which it ends
    here = index.clamp(max=weights.shape[1] - 1)
    entry = _delayed(total).gather(1, here)
    part = ((token[:, 0] + 1) * threshold - entry) / weights.gather(1, here)
    return torch.where(index > here, end, here + part.clamp(0, 1)).float()
