"""The attention of SpeechBrain's layers, with its weights by head and with one more key.

SpeechBrain's ``regularMHA`` returns the mean over heads, and ``RoPEMHA`` no weights at all. Here they
are computed from the parameters of the stock modules.
"""

from collections.abc import Mapping
from copy import copy

import torch
from speechbrain.nnet.attention import (
    MultiheadAttention,
    PrecomputedRoPESinusoids,
    RelPosMHAXL,
    RoPEMHA,
    memoise_at_least,
)
from torch import nn

from speechbrain_recursive.nn.hooks import Call, Hook
from speechbrain_recursive.nn.state import State


class Attention(nn.Module):
    """Runs in place of a stock self-attention, with its arguments and parameters.

    A further key, if there is one, has the share sigmoid(s - logsumexp(s_1, ..., s_T)) of a query's
    attention, where s is its score and s_1 to s_T those of the frames. The heads are multiplied by
    1 - ``amount`` x share. An amount of 1 gives the attention over the frames and one more of value
    zero, an amount of 0 the attention over the frames alone.

    Arguments
    ---------
    stock : RelPosMHAXL, RoPEMHA or MultiheadAttention
        The module, which is not changed.
    key : torch.Tensor, optional
        The further key [heads, d / heads]. It has no position, and every frame can attend to it.
    amount : torch.Tensor, optional
        One for all heads, or [heads]; 1 by default.

    Raises
    ------
    TypeError
        For other modules.

    Example
    -------
    >>> stock = RoPEMHA(embed_dim=8, num_heads=2)
    >>> x = torch.rand(1, 5, 8)
    >>> output, weights = Attention(stock)(x, x, x)
    >>> weights.shape, torch.allclose(output, stock(x, x, x)[0], atol=1e-6)
    (torch.Size([1, 2, 5, 5]), True)
    """

    def __init__(
        self,
        stock: nn.Module,
        key: torch.Tensor | None = None,
        amount: torch.Tensor | None = None,
    ):
        super().__init__()
        found = [scores for kind, scores in _SCORES.items() if isinstance(stock, kind)]
        if not found:
            raise TypeError(f"no attention weights by head for {type(stock).__name__}")
        self._scores = found[0]
        self.stock = stock.att if isinstance(stock, MultiheadAttention) else stock
        self.key = key
        self.amount = amount

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        key_padding_mask: torch.Tensor | None = None,
        pos_embs: torch.Tensor | None = None,
        return_attn_weights: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend from every frame to every frame.

        Arguments
        ---------
        query, key, value : torch.Tensor
            The same tensor [B, T, d].
        attn_mask : torch.Tensor, optional
            [T, T] or [B * heads, T, T]; True where attention is forbidden, or added to the scores.
        key_padding_mask : torch.BoolTensor, optional
            [B, T], True on padding.
        pos_embs : torch.Tensor, optional
            [1, 2T-1, d] for ``RelPosMHAXL``; the others take none.
        return_attn_weights : bool
            Not used: they are always returned.

        Returns
        -------
        torch.Tensor
            [B, T, d].
        torch.Tensor
            Weights [B, heads, T, T] of the frames, without a further key. They are zero for a frame that
            may attend to nothing, and so are its heads.
        """
        query, scores, values = self._scores(self.stock, query, pos_embs)
        scores, forbidden = _masked(scores, attn_mask, key_padding_mask)
        weights = torch.softmax(scores, dim=-1)
        weights = (weights if forbidden is None else weights.masked_fill(forbidden, 0.0)).to(
            values.dtype
        )
        dropped = nn.functional.dropout(weights, self.stock.dropout, self.stock.training)
        heads = dropped @ values
        if self.key is not None:
            score = query @ self.key[:, :, None]
            share = torch.sigmoid(score - scores.logsumexp(-1, keepdim=True))
            if self.amount is not None:
                share = self.amount[..., None, None] * share
            heads = (1 - share).to(heads.dtype) * heads
        return self.stock.out_proj(heads.transpose(1, 2).flatten(2)), weights


def with_attention(layer: nn.Module, name: str, attention: nn.Module) -> nn.Module:
    """A copy of a layer that shares its parameters and attends by another module.

    Arguments
    ---------
    layer : torch.nn.Module
        It is not changed. If it is compiled, its copy is not.
    name : str
        Under which name the layer has its attention.
    attention : torch.nn.Module
        What the copy has there.
    """
    twin = copy(layer)
    twin._modules = {**layer._modules, name: attention}
    return twin


def attention_of(layer: nn.Module) -> tuple[str, nn.Module]:
    """The name and the module of a layer's self-attention.

    Raises
    ------
    TypeError
        If the layer has none.
    """
    for name in ("mha_layer", "self_att"):
        if hasattr(layer, name):
            return name, getattr(layer, name)
    raise TypeError(f"{type(layer).__name__} has no self-attention")


class WeightsByHead(Hook):
    """Lets all layers of a block return attention weights by head [B, heads, T, T].

    The layers compute what they computed before. As the first of the hooks, it leaves attention that
    another hook has put in place as it is.

    Example
    -------
    >>> from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
    >>> from speechbrain_recursive.nn.encoder import RecursiveEncoder
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> stock = TransformerEncoder(1, nhead=2, d_ffn=16, d_model=8)
    >>> encoder = RecursiveEncoder(stock, cycle(1, 3), {"*": [WeightsByHead()]})
    >>> _, weights = encoder(torch.rand(1, 10, 8))
    >>> len(weights), weights[0].shape
    (3, torch.Size([1, 2, 10, 10]))
    """

    def attach(self, layers: Mapping[int, nn.Module]) -> None:
        """Refuse layers that have no attention weights.

        Raises
        ------
        TypeError
            For a layer without self-attention, or with one that :class:`Attention` does not know.
        """
        for layer in layers.values():
            Attention(attention_of(layer)[1])

    def around_step(self, state: State, layer: nn.Module, call: Call) -> tuple:
        """Run the layer with :class:`Attention` in the place of its own."""
        name, module = attention_of(layer)
        if isinstance(module, Attention):
            return call(state, layer)
        return call(state, with_attention(layer, name, Attention(module)))


def _masked(scores, mask, pad):
    """Scores under an attention mask and a padding mask, and where attention is forbidden, if it is."""
    if mask is None and pad is None:
        return scores, None
    forbidden = torch.zeros_like(scores[:1, :1], dtype=torch.bool)
    if mask is not None:
        mask = mask if mask.dim() == 2 else mask.unflatten(0, (len(scores), -1))
        if mask.dtype == torch.bool:
            forbidden = mask
        else:
            scores, forbidden = scores + mask, mask == -torch.inf
    if pad is not None:
        forbidden = forbidden | pad[:, None, None]
    return scores.masked_fill(forbidden, -torch.inf), forbidden


def _relative(stock, x, positions):
    """RelPosMHAXL: content and position have biases of their own; scores are scaled by sqrt(d)."""
    query, keys, values = _projected(stock, x)
    shape = 1, stock.num_heads, 1, stock.head_dim  # the biases' memory order, not their own shape
    content = (query + stock.pos_bias_u.view(shape)) * stock.scale
    place = (query + stock.pos_bias_v.view(shape)) * stock.scale
    places = stock.linear_pos(positions).view(1, -1, stock.num_heads, stock.head_dim).transpose(1, 2)
    return (
        content,
        content @ keys.transpose(-2, -1) + stock.rel_shift(place @ places.transpose(-2, -1)),
        values,
    )


def _rotary(stock, x, positions):
    """RoPEMHA: query and key are rotated; scores are scaled by sqrt(d)."""
    query, keys, values = _projected(stock, x)
    sinusoids = _sinusoids(x.shape[1], stock.head_dim, query.dtype, x.device)
    query = query * stock.scale
    return query, _rotated(query, sinusoids) @ _rotated(keys, sinusoids).transpose(-2, -1), values


def _regular(stock, x, positions):
    """PyTorch's MultiheadAttention: scores are scaled by sqrt(d / heads)."""
    whole = nn.functional.linear(x, stock.in_proj_weight, stock.in_proj_bias).chunk(3, dim=-1)
    query, keys, values = (
        each.view(*x.shape[:2], stock.num_heads, -1).transpose(1, 2) for each in whole
    )
    query = query * stock.head_dim**-0.5
    return query, query @ keys.transpose(-2, -1), values


_SCORES = {RelPosMHAXL: _relative, RoPEMHA: _rotary, MultiheadAttention: _regular}


def _projected(stock, x):
    """Query, key and value [B, heads, T, d / heads] of a projection that is fused by head."""
    whole = nn.functional.linear(x, stock.in_proj_weight).view(*x.shape[:2], stock.num_heads, -1)
    query, keys, values = whole.transpose(1, 2).chunk(3, dim=-1)
    if stock.vbias is not None:
        values = values + stock.value_bias_weight.view(stock.num_heads, 1, -1)
    return query, keys, values


def _rotated(x, sinusoids):
    time = x.shape[-2]
    return x * sinusoids.cosines[:time] + x[..., sinusoids.index_swap] * sinusoids.sines[:time]


# of the next power of two, so that a length is seldom new
_sinusoids = memoise_at_least(lambda time: 1 << (time - 1).bit_length())(PrecomputedRoPESinusoids)
