"""Where in the recursion a loop is: each hook tells it by the number n of loops made so far."""

from dataclasses import replace

from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.hooks import Hook


class _ByDepth(Hook):
    """Changes the state with which every loop but the first begins: ``change(x, n)``, x [B, T, d]."""

    def before_loop(self, state):
        n = state.step.loop
        return state if n == 0 else replace(state, x=self.change(state.x, n))


class Clock(_ByDepth):
    """Adds an embedding of ``n mod interval``, the place between two checkpoints (LARM, Eq. 9 and 10).

    It starts at zero: the identity.

    Arguments
    ---------
    interval : int
        Loops from one checkpoint to the next.
    d_model : int

    Example
    -------
    >>> Clock(interval=4, d_model=8).embedding.weight.shape
    torch.Size([4, 8])
    """

    def __init__(self, interval, d_model):
        super().__init__()
        self.interval = interval
        self.embedding = _zero(nn.Embedding(interval, d_model))

    def change(self, x, n):
        """Add the embedding to x [B, T, d], broadcast over time."""
        return x + self.embedding.weight[n % self.interval]


class FiLM(_ByDepth):
    """``(1 + scale(n / loops)) * x + bias(n / loops)``, feature by feature (LARM, Eq. 11 and 12).

    Scale and bias are networks with one hidden layer whose last layer starts at zero: the identity.
    Past ``loops`` the argument grows beyond 1.

    Arguments
    ---------
    loops : int
        Loops that are trained for, N.
    d_model : int
    hidden : int
        Width of the hidden layers.

    Example
    -------
    >>> sum(p.numel() for p in FiLM(loops=12, d_model=384).parameters())
    50176
    """

    def __init__(self, loops, d_model, hidden=64):
        super().__init__()
        self.loops = loops
        self.scale = _network(d_model, hidden)
        self.bias = _network(d_model, hidden)

    def change(self, x, n):
        """Scale and shift x [B, T, d], broadcast over time."""
        scale, bias = (_at(n / self.loops, network) for network in (self.scale, self.bias))
        return (1 + scale) * x + bias


class DepthMLP(_ByDepth):
    """Adds ``mlp(n / loops)``: FiLM's rival without scale (LARM, Table 3b). It starts at zero.

    Arguments
    ---------
    loops : int
        Loops that are trained for, N.
    d_model : int
    hidden : int
        Width of the hidden layer.

    Example
    -------
    >>> len(list(DepthMLP(loops=12, d_model=8).parameters()))
    4
    """

    def __init__(self, loops, d_model, hidden=64):
        super().__init__()
        self.loops = loops
        self.bias = _network(d_model, hidden)

    def change(self, x, n):
        """Add it to x [B, T, d], broadcast over time."""
        return x + _at(n / self.loops, self.bias)


class DepthEmbedding(_ByDepth):
    """Adds an embedding of n: FiLM's rival that knows no other depth (LARM, Table 3b).

    It starts at zero: the identity.

    Arguments
    ---------
    loops : int
        Loops that are trained for; more cannot be made.
    d_model : int

    Example
    -------
    >>> DepthEmbedding(loops=12, d_model=8).embedding.weight.shape
    torch.Size([11, 8])
    """

    def __init__(self, loops, d_model):
        super().__init__()
        self.embedding = _zero(nn.Embedding(loops - 1, d_model))

    def change(self, x, n):
        """Add the embedding to x [B, T, d], broadcast over time.

        Raises
        ------
        UserError
            If the loop has no embedding.
        """
        table = self.embedding.weight
        if n > len(table):
            raise UserError(
                f"loop {n + 1} has no depth embedding: the table was made for {len(table) + 1} loops"
            )
        return x + table[n - 1]


def _at(depth, network):
    """What a network gives for a depth [d], in the type of its weights."""
    return network(network[0].weight.new_full((1,), depth))


def _network(d_model, hidden):
    return nn.Sequential(nn.Linear(1, hidden), nn.SiLU(), _zero(nn.Linear(hidden, d_model)))


def _zero(module):
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
