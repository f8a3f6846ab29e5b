"""Injection of a block's entry state into each of its loops."""

from dataclasses import replace

import torch
from torch import nn

from speechbrain_recursive.nn.hooks import Hook


class StateInjection(Hook):
    """Every loop but the first begins from ``h(r) + gain * z0``.

    ``z0`` is the state with which the block was entered. By default the gain, one number, starts at
    zero: the identity. LARM (Eq. 8) starts it elsewhere and also knows it fixed. Since every loop reads
    ``z0``, the layers below the block have a gradient under ``grad_loops``, as soon as the gain has
    left zero.

    Arguments
    ---------
    gain : float
        Its initial value.
    learned : bool
        Whether it is a parameter.

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

    def __init__(self, gain=0.0, learned=True):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(float(gain)), requires_grad=learned)

    def before_loop(self, state):
        """Remember z0 at loop 0; add it to every later loop's beginning.

        Arguments
        ---------
        state : State

        Returns
        -------
        State
        """
        if state.step.loop == 0:
            return replace(state, memory={**state.memory, "z0": state.x})
        return replace(state, x=state.x + self.gain * state.memory["z0"])
