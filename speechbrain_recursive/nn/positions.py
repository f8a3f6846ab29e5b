"""Positional encodings as parts that turn a state into a state."""

import math
from dataclasses import replace

import torch
from speechbrain.nnet.attention import RelPosEncXL
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.state import State


class Sinusoids(nn.Module):
    """SpeechBrain's sinusoids for any number of positions; its table ends at 2,500, where it crashes.

    Arguments
    ---------
    input_size : int
        Width of the vectors, d, an even number.

    Example
    -------
    >>> Sinusoids(8)(torch.zeros(1, 25, 8)).shape
    torch.Size([1, 25, 8])
    """

    def __init__(self, input_size: int):
        super().__init__()
        rates = torch.exp(torch.arange(0, input_size, 2).float() * -(math.log(10000.0) / input_size))
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Positions for x [B, T, d], as [1, T, d]."""
        angles = torch.arange(x.shape[1], device=x.device).float()[:, None] * self.rates
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)[None]


class AbsolutePositions(Sinusoids):
    """Adds sinusoids to the frames."""

    def forward(self, state: State) -> State:
        """Add them to ``state.x`` [B, T, d]."""
        return replace(state, x=state.x + super().forward(state.x))


class RelativePositions(RelPosEncXL):
    """Gives relative positions to the layers' attention (``RelPosMHAXL``)."""

    def __init__(self, d_model: int):
        super().__init__(d_model)
        self.register_buffer("inv_freq", self.inv_freq, persistent=False)

    def forward(self, state: State) -> State:
        """Set ``state.pos`` to [1, 2T-1, d]."""
        return replace(state, pos=super().forward(state.x))


def positions_for(attention_type: str, d_model: int) -> nn.Module:
    """The positions that a kind of attention needs.

    Arguments
    ---------
    attention_type : str
        SpeechBrain's name: ``regularMHA`` (sinusoids), ``RelPosMHAXL`` (relative), or ``RoPEMHA``,
        whose layers compute their own.
    d_model : int
        Width of the frames.

    Returns
    -------
    torch.nn.Module
        From State to State.

    Raises
    ------
    UserError
        For another attention.

    Example
    -------
    >>> type(positions_for("RelPosMHAXL", 8)).__name__
    'RelativePositions'
    """
    if attention_type == "regularMHA":
        return AbsolutePositions(d_model)
    if attention_type == "RelPosMHAXL":
        return RelativePositions(d_model)
    if attention_type == "RoPEMHA":
        return nn.Identity()
    raise UserError(f"attention_type '{attention_type}' is none of regularMHA, RelPosMHAXL, RoPEMHA")
