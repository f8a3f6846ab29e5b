"""Injection of a block's entry state into its loops."""

from dataclasses import replace

import torch
from torch import nn

from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.state import State


class StateInjection(Hook):
    """Adds ``gain * z0`` to the input of every loop but the first, where z0 is the block's entry state.

    The gain is a scalar. It is initialized to zero by default, so that the output is unchanged; LARM
    (Eq. 8) uses another initial value, learned or fixed. Since every loop reads z0, the layers below the
    block receive a gradient under ``grad_loops`` as soon as the gain is not zero.

    Arguments
    ---------
    gain : float
        Initial value of the gain.
    learned : bool
        Whether the gain is trained.

    Example
    -------
    >>> from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
    >>> from speechbrain_recursive.nn.encoder import RecursiveEncoder
    >>> from speechbrain_recursive.nn.schedule import latent
    >>> stock = TransformerEncoder(2, nhead=2, d_ffn=16, d_model=8)
    >>> hooks = {"recurrent": [StateInjection()]}
    >>> encoder = RecursiveEncoder(stock, latent(1, 4, 1, 0), hooks, grad_loops=2)
    >>> encoder(torch.rand(2, 10, 8))[0].shape
    torch.Size([2, 10, 8])
    """

    injects = True

    def __init__(self, gain: float = 0.0, learned: bool = True):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(float(gain)), requires_grad=learned)

    def before_loop(self, state: State) -> State:
        """Store z0 in the first loop and add it in every later one."""
        if state.step.loop == 0:
            return state.remember(z0=state.x)
        return replace(state, x=state.x + self.gain * state.memory["z0"])
