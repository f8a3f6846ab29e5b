"""Continuous integrate-and-fire: from frames to one state for each token (CIF-HKD, Section 2.1.1)."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.request import Outputs
from speechbrain_recursive.nn.state import State

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
    with _float32(x):
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


class Cif(nn.Module):
    """Turns frames into one state per token, behind any encoder.

    A convolution, a linear layer and a sigmoid give each frame its weight. In training, an utterance
    whose tokens are known has its weights scaled, so that it fires once for each of them and for <eos>.
    Otherwise it fires as its weights say. All of it runs in float32, also under autocast.

    The state that it returns has the fired states [B, I, d] as ``x``, padding for their counts, and
    neither positions nor a mask, which belonged to frames. Its memory has, in addition:

    - ``weights`` [B, U] of the frames, before scaling;
    - ``quantity`` [B], the number of tokens that these weights stand for;
    - ``boundaries`` [B, I], where each token ends, in frames; :func:`boundaries` gives seconds.

    Arguments
    ---------
    d_model : int
        Width of the state.
    channels : int, optional
        Of the convolution; as many as ``d_model`` by default.
    kernel_size : int
        Of the convolution, odd.
    dropout : float
        After the convolution.
    threshold : float
        Weight of a fired state.
    scaling : bool
        Whether weights are scaled in training.
    tail : float, optional
        See :func:`integrate_and_fire`.

    Raises
    ------
    UserError
        If the threshold is not above 0, or the tail not from 0 up to below the threshold.

    Example
    -------
    >>> tokens = torch.tensor([[1, 5, 7], [1, 6, 0]])
    >>> state = State(torch.rand(2, 10, 8)).remember(tokens_bos=tokens)
    >>> Cif(8).train()(state).frames.tolist()
    [3, 2]
    """

    def __init__(
        self,
        d_model: int,
        channels: int | None = None,
        kernel_size: int = 3,
        dropout: float = 0.2,
        threshold: float = 1.0,
        scaling: bool = True,
        tail: float | None = 0.5,
    ):
        super().__init__()
        if threshold <= 0:
            raise UserError(f"CIF: threshold {threshold}: must be above 0")
        if tail is not None and not 0 <= tail < threshold:
            raise UserError(f"CIF: tail {tail}: choose from 0 up to below the threshold, {threshold}")
        channels = d_model if channels is None else channels
        self.conv = nn.Conv1d(d_model, channels, kernel_size, padding=kernel_size // 2)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, 1)
        self.threshold, self.scaling, self.tail = threshold, scaling, tail

    def forward(self, state: State) -> State:
        """Integrate and fire.

        Arguments
        ---------
        state : State
            Frames [B, U, d]. Its memory may hold ``tokens_bos`` [B, I]: tokens that start with <bos>
            and are padded with 0.

        Returns
        -------
        State
        """
        with _float32(state.x):
            x = state.x.float()
            pad = torch.zeros_like(x[..., 0], dtype=torch.bool) if state.pad is None else state.pad
            hidden = self.conv(x.masked_fill(pad[..., None], 0.0).transpose(1, 2)).transpose(1, 2)
            weights = self.linear(self.dropout(hidden)).squeeze(-1).sigmoid().masked_fill(pad, 0.0)
            tokens = state.memory.get("tokens_bos") if self.training and self.scaling else None
            if tokens is None:
                most = math.ceil(x.shape[1] / self.threshold)  # no weight is above 1
                fired = integrate_and_fire(x, weights, self.threshold, self.tail, size=most)
            else:
                counts = (tokens != 0).sum(1)
                sized = scaled(weights, pad, counts * self.threshold)
                fired = integrate_and_fire(x, sized, self.threshold, counts=counts, size=tokens.shape[1])
        state = state.remember(
            weights=weights, quantity=weights.sum(1) / self.threshold, boundaries=fired.boundaries
        )
        pad = pad_mask(fired.counts, fired.states.shape[1])
        return replace(state, x=fired.states, pad=pad, mask=None, pos=None)


def boundaries(
    model: nn.Module, outputs: Outputs, counts: torch.Tensor | None = None
) -> list[list[float]]:
    """Seconds from an utterance's beginning at which each of its tokens ends.

    Within a frame, weights count as evenly spread.

    Arguments
    ---------
    model : ASRModel
        With a :class:`Cif` as its part ``cif``.
    outputs : Outputs
        Of the model for B utterances.
    counts : torch.LongTensor, optional
        Number of tokens of each utterance [B], <eos> included, to scale the weights to. By default, what
        fired counts.

    Returns
    -------
    list of list of float
    """
    state = outputs.states["cif"]
    ends, found = state.memory["boundaries"], state.frames
    if counts is not None:
        weights, threshold = state.memory["weights"], model.after["cif"].threshold
        weights = scaled(weights, pad_mask(outputs.frames, weights.shape[1]), counts * threshold)
        _, found, ends = integrate_and_fire(weights[..., None], weights, threshold, counts=counts)
    # The first frame of the first state is centered at 0, so it begins half a frame before.
    ends = ends * model.frame_seconds - model.embed.frame_seconds / 2
    return [row[:count] for row, count in zip(ends.tolist(), found.tolist(), strict=True)]


def _float32(x):
    """Without autocast, which does not know the meta device."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _delayed(x):
    """The value on entering each frame, of values [B, U] on leaving it."""
    return nn.functional.pad(x[:, :-1], (1, 0))


def _ends(weights, total, threshold, after, token):
    """Where each state ends [B, I], in frames; with the last weight for one that never reaches it."""
    frame = torch.arange(1, weights.shape[1] + 1, device=weights.device)
    end = ((weights > 0) * frame).amax(1, keepdim=True)
    index = (after[:, None] <= token).sum(-1)  # the frame in which it ends
    here = index.clamp(max=weights.shape[1] - 1)
    entry = _delayed(total).gather(1, here)
    part = ((token[:, 0] + 1) * threshold - entry) / weights.gather(1, here)
    return torch.where(index > here, end, here + part.clamp(0, 1)).float()
