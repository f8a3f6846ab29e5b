"""Hooks that condition loops on depth: on n, the number of loops completed so far."""

from dataclasses import replace

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.state import State


class _ByDepth(Hook):
    """Applies ``change(x, n)`` to the input x [B, T, d] of every loop but the first."""

    def before_loop(self, state: State) -> State:
        """Condition the input of a loop; see :meth:`Hook.before_loop`."""
        n = state.step.loop
        return state if n == 0 else replace(state, x=self.change(state.x, n))


class Clock(_ByDepth):
    """Adds an embedding of ``n mod interval``, the position between checkpoints (LARM, Eq. 9 and 10).

    The embedding is initialized to zero, so that it leaves the output unchanged.

    Arguments
    ---------
    interval : int
        Loops from one checkpoint to the next.
    d_model : int
        Width of the state.

    Example
    -------
    >>> Clock(interval=4, d_model=8).embedding.weight.shape
    torch.Size([4, 8])
    """

    def __init__(self, interval: int, d_model: int):
        super().__init__()
        self.interval = interval
        self.embedding = _zero(nn.Embedding(interval, d_model))

    def change(self, x: torch.Tensor, n: int) -> torch.Tensor:
        """Add the embedding to x [B, T, d], broadcast over time."""
        return x + self.embedding.weight[n % self.interval]


class FiLM(_ByDepth):
    """Computes ``(1 + scale(n / loops)) * x + bias(n / loops)`` per feature (LARM, Eq. 11 and 12).

    Scale and bias are networks with one hidden layer. Their last layers are initialized to zero, so that
    the output is unchanged. Beyond ``loops`` the argument exceeds 1.

    Arguments
    ---------
    loops : int
        Trained number of loops, N.
    d_model : int
        Width of the state.
    hidden : int
        Width of the hidden layers.

    Example
    -------
    >>> sum(p.numel() for p in FiLM(loops=12, d_model=384).parameters())
    50176
    """

    def __init__(self, loops: int, d_model: int, hidden: int = 64):
        super().__init__()
        self.loops = loops
        self.scale = _network(d_model, hidden)
        self.bias = _network(d_model, hidden)

    def change(self, x: torch.Tensor, n: int) -> torch.Tensor:
        """Scale and shift x [B, T, d], broadcast over time."""
        scale, bias = (_at(n / self.loops, network) for network in (self.scale, self.bias))
        return (1 + scale) * x + bias


class DepthMLP(_ByDepth):
    """Adds ``mlp(n / loops)``, the alternative to FiLM without a scale (LARM, Table 3b).

    The last layer is initialized to zero, so that the output is unchanged.

    Arguments
    ---------
    loops : int
        Trained number of loops, N.
    d_model : int
        Width of the state.
    hidden : int
        Width of the hidden layer.

    Example
    -------
    >>> len(list(DepthMLP(loops=12, d_model=8).parameters()))
    4
    """

    def __init__(self, loops: int, d_model: int, hidden: int = 64):
        super().__init__()
        self.loops = loops
        self.bias = _network(d_model, hidden)

    def change(self, x: torch.Tensor, n: int) -> torch.Tensor:
        """Add the network's output to x [B, T, d], broadcast over time."""
        return x + _at(n / self.loops, self.bias)


class DepthEmbedding(_ByDepth):
    """Adds an embedding of n, the alternative to FiLM that cannot extrapolate (LARM, Table 3b).

    The embedding is initialized to zero, so that it leaves the output unchanged.

    Arguments
    ---------
    loops : int
        Trained number of loops. More are refused.
    d_model : int
        Width of the state.

    Example
    -------
    >>> DepthEmbedding(loops=12, d_model=8).embedding.weight.shape
    torch.Size([11, 8])
    """

    def __init__(self, loops: int, d_model: int):
        super().__init__()
        self.most_loops = loops
        self.embedding = _zero(nn.Embedding(loops - 1, d_model))

    def change(self, x: torch.Tensor, n: int) -> torch.Tensor:
        """Add the embedding to x [B, T, d], broadcast over time.

        Raises
        ------
        UserError
            If the loop has no embedding.
        """
        if n >= self.most_loops:
            raise UserError(
                f"loop {n + 1} has no depth embedding: the table was made for {self.most_loops} loops"
            )
        return x + self.embedding.weight[n - 1]


def _at(depth, network):
    """Output [d] of a network for a depth, in the dtype of its weights."""
    return network(network[0].weight.new_ones(1) * depth)


def _network(d_model, hidden):
    return nn.Sequential(nn.Linear(1, hidden), nn.SiLU(), _zero(nn.Linear(hidden, d_model)))


def _zero(module):
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
