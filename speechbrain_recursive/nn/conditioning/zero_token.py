"""Zero tokens and gates, for layers that all loops share."""

from collections.abc import Mapping

import torch
from torch import nn

from speechbrain_recursive.nn.attention import Attention, attention_of, with_attention
from speechbrain_recursive.nn.hooks import Call, Hook, up_to
from speechbrain_recursive.nn.state import State


class ZeroToken(Hook):
    """Gives the attention of each layer one more token per loop, and gates what the layer adds.

    Zero Token Transformer (Li et al., 2025). In loop r, frames can also attend to a token with a trained
    key z_r, of the width of a layer's keys, and the value zero: the more they do, the less the attention
    adds. A gate then scales what the layer adds to its input x,

        x + g(x) * (layer(x) - x), g(x) = 2 sigmoid(W x + b).

    Keys belong to a layer and a loop, gates to a layer; loops beyond ``loops`` use the last keys. The
    size of the gate is not stated in the papers at hand, nor how both begin. Here W is [d, d], which
    gives the parameters that BiCycle's paper counts; W and b start at zero, and each key enters with the
    amount tanh(a), a scalar per layer and loop that starts at zero. A new hook thus changes nothing.

    Arguments
    ---------
    loops : int
        Number of loops with keys of their own.

    Raises
    ------
    ValueError
        If ``loops`` is below 1.

    Example
    -------
    >>> from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
    >>> from speechbrain_recursive.nn.encoder import RecursiveEncoder
    >>> from speechbrain_recursive.nn.schedule import head_tail
    >>> stock = TransformerEncoder(4, nhead=2, d_ffn=16, d_model=8)
    >>> encoder = RecursiveEncoder(stock, head_tail(4, loops=3), {"recurrent": [ZeroToken(loops=3)]})
    >>> encoder(torch.rand(2, 10, 8))[0].shape
    torch.Size([2, 10, 8])
    """

    def __init__(self, loops: int):
        super().__init__()
        if loops < 1:
            raise ValueError(f"ZeroToken needs at least one loop, got {loops}")
        self.loops = loops
        self.keys = nn.ParameterDict()
        self.amounts = nn.ParameterDict()
        self.gates = nn.ModuleDict()

    def attach(self, layers: Mapping[int, nn.Module]) -> None:
        """Make keys [loops, heads, d / heads], amounts [loops] and a gate for each of the layers.

        Raises
        ------
        TypeError
            If a layer has no attention that can take a further key.
        """
        for index, layer in layers.items():
            stock = Attention(attention_of(layer)[1]).stock
            d_model = stock.num_heads * stock.head_dim
            gate = nn.Linear(d_model, d_model)
            nn.init.zeros_(gate.weight)
            nn.init.zeros_(gate.bias)
            keys = torch.randn(self.loops, stock.num_heads, stock.head_dim)
            self.keys[str(index)] = keys / stock.head_dim**0.5
            self.amounts[str(index)] = torch.zeros(self.loops)
            self.gates[str(index)] = gate

    def around_step(self, state: State, layer: nn.Module, call: Call) -> tuple:
        """Run the layer with the key of this loop, and gate it."""
        loop, index = up_to(state.step.loop, self.loops - 1), str(state.step.layer)
        name, stock = attention_of(layer)
        key, amount = self.keys[index][loop], torch.tanh(self.amounts[index][loop])
        attention = Attention(stock, key=key, amount=amount)
        x, weights = call(state, with_attention(layer, name, attention))
        gate = 2 * torch.sigmoid(self.gates[index](state.x))
        return torch.lerp(state.x, x, gate), weights
