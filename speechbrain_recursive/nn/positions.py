"""Positional encodings as parts that turn a state into a state."""

from dataclasses import replace

import torch
from speechbrain.lobes.models.transformer.Transformer import PositionalEncoding
from speechbrain.nnet.attention import RelPosEncXL
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.state import State


class Sinusoids(PositionalEncoding):
    """SpeechBrain's sinusoids, computed on the fly past the end of its table, where it crashes.

    The table is a constant and is left out of the state dict.

    Example
    -------
    >>> Sinusoids(8, max_len=10)(torch.zeros(1, 25, 8)).shape
    torch.Size([1, 25, 8])
    """

    def __init__(self, input_size: int, max_len: int = 2500):
        super().__init__(input_size, max_len)
        self.register_buffer("pe", self.pe, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Positions for x [B, T, d], as [1, T, d]."""
        if x.size(1) <= self.max_len:
            return super().forward(x)
        return PositionalEncoding(self.pe.shape[-1], x.size(1)).pe.to(self.pe)


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
