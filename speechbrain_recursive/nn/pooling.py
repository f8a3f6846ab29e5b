"""Pooling of the time axis between the blocks of a schedule."""

from dataclasses import replace

import torch

from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.state import State


class MaxPool(Hook):
    """Max-pooling on leaving a block: fewer frames for the blocks behind it.

    Unlike other hooks, it changes the output from the start. Padded frames are left out, so that an
    utterance gives the same frames alone and in any batch; the last of them may be pooled from fewer.

    Arguments
    ---------
    stride : int
        Frames that become one.

    Example
    -------
    >>> state = State(torch.tensor([[[1.0], [3.0], [2.0], [0.0], [-1.0]]]))
    >>> MaxPool(2).leave_block(state).x.flatten().tolist()
    [3.0, 2.0, -1.0]
    """

    streams = False

    def __init__(self, stride: int = 2):
        super().__init__()
        self.stride = stride

    def leave_block(self, state: State) -> State:
        """Pool ``state.x`` [B, T, d] to [B, ceil(T / stride), d]."""
        x, frames = state.x, state.frames
        if state.pad is not None:
            x = x.masked_fill(state.pad[..., None], -torch.inf)
        x = torch.nn.functional.max_pool1d(x.transpose(1, 2), self.stride, ceil_mode=True)
        state = state.resize(x.transpose(1, 2), (frames + self.stride - 1) // self.stride)
        if state.pad is None:
            return state
        return replace(state, x=state.x.masked_fill(state.pad[..., None], 0.0))
