"""Continuous integrate-and-fire: from frames to one state for each token (CIF-HKD, Section 2.1.1)."""

import math
from dataclasses import replace

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.firing import integrate_and_fire, scaled, without_autocast
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.request import Outputs
from speechbrain_recursive.nn.state import State

START = 0.27  # weight of a frame before training: about the tokens in 80 ms of speech


class Cif(nn.Module):
    """Turns frames into one state per token, behind any encoder.

    A convolution, a linear layer and a sigmoid give each frame its weight, at first about 0.27. In
    training, an utterance whose tokens are known has its weights scaled, so that it fires once for each
    of them and for <eos>. Otherwise it fires as its weights say. All of it runs in float32, also under
    autocast.

    The state that it returns has the fired states [B, I, d] as ``x``, padding for their counts, and
    neither positions nor a mask, which belonged to frames. Its memory has, in addition:

    - ``weights`` [B, U] of the frames, before scaling;
    - ``quantity`` [B], the number of tokens that these weights stand for;
    - ``boundaries`` [B, I], where each token ends, in frames; :func:`boundaries` gives seconds.

    Arguments
    ---------
    d_model : int
        Width of the state.
    kernel_size : int
        Of the convolution, odd; it has ``d_model`` channels.
    dropout : float
        After the convolution.
    threshold : float
        Weight of a fired state.
    scaling : bool
        Whether weights are scaled in training.
    tail : float, optional
        See :func:`~speechbrain_recursive.nn.firing.integrate_and_fire`.

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
        self.conv = nn.Conv1d(d_model, d_model, kernel_size, padding=kernel_size // 2)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(d_model, 1)
        # Half a token per frame, PyTorch's start, is too many. The quantity loss would lower the weights
        # along the mean frame, which raises those of silence, where the first and last tokens then fire.
        nn.init.constant_(self.linear.bias, math.log(START / (1 - START)))
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
        with without_autocast(state.x):
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
