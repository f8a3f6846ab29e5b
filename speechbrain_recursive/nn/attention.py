"""The attention of SpeechBrain's layers with its weights by head, and with one more key.

SpeechBrain's ``regularMHA`` returns the mean over heads, and ``RoPEMHA`` no weights at all. The functions
here compute with the parameters of the stock modules what these compute.
"""

from copy import copy

import torch
from speechbrain.nnet.attention import MultiheadAttention, RelPosMHAXL, RoPEMHA, _rope_rotate
from torch import nn


class Attention(nn.Module):
    """Runs in place of a stock attention module, with the same arguments and parameters.

    Arguments
    ---------
    stock : RelPosMHAXL, RoPEMHA or MultiheadAttention
        The module, which is not changed.
    key : torch.Tensor, optional
        One more key [heads, d / heads], which all frames can attend to and whose value is zero. It has no
        position.

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

    def __init__(self, stock: nn.Module, key: torch.Tensor | None = None):
        super().__init__()
        for kind, scores in _SCORES.items():
            if isinstance(stock, kind):
                self._scores = scores
                break
        else:
            raise TypeError(f"no attention weights by head for {type(stock).__name__}")
        self.stock = stock
        self.key = key

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
            [1, 2T-1, d] for ``RelPosMHAXL``.
        return_attn_weights : bool
            Not used: they are always returned.

        Returns
        -------
        torch.Tensor
            [B, T, d].
        torch.Tensor
            Weights [B, heads, T, T], without those of the further key.
        """
        scores, further, values, drop, project = self._scores(self.stock, query, pos_embs, self.key)
        forbidden = torch.zeros_like(scores[:1, :1], dtype=torch.bool)
        if attn_mask is not None:
            mask = attn_mask if attn_mask.dim() == 2 else attn_mask.unflatten(0, (len(query), -1))
            if mask.dtype == torch.bool:
                forbidden = forbidden | mask
            else:
                scores = scores + mask
        if key_padding_mask is not None:
            forbidden = forbidden | key_padding_mask[:, None, None]
        scores = scores.masked_fill(forbidden, -torch.inf)
        if further is not None:
            scores = torch.cat([scores, further], dim=-1)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32)[..., : query.shape[1]]
        weights = weights.masked_fill(forbidden, 0.0).to(values.dtype)  # rows that may attend to nothing
        heads = nn.functional.dropout(weights, drop, self.training) @ values
        return project(heads.transpose(1, 2).flatten(2)), weights


def with_attention(layer: nn.Module, name: str, attention: nn.Module) -> nn.Module:
    """A copy of a layer that shares its parameters and attends by another module.

    Arguments
    ---------
    layer : torch.nn.Module
        It is not changed.
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


def _relative(stock, x, pos, key):
    """RelPosMHAXL: content and position have biases of their own; scores are scaled by sqrt(d)."""
    query, keys, values = _project(x, stock.in_proj_weight, stock.num_heads)
    if stock.vbias is not None:
        values = values + stock.value_bias_weight.view(1, stock.num_heads, 1, -1)
    shape = 1, stock.num_heads, 1, stock.head_dim  # the parameters are read in this order, not theirs
    content = (query + stock.pos_bias_u.view(shape)) * stock.scale
    place = (query + stock.pos_bias_v.view(shape)) * stock.scale
    positions = stock.linear_pos(pos).unflatten(-1, (stock.num_heads, -1)).transpose(1, 2)
    scores = content @ keys.mT + stock.rel_shift(place @ positions.mT)
    return scores, _further(content, key), values, stock.dropout_att.p, stock.out_proj


def _rotary(stock, x, pos, key):
    """RoPEMHA: query and key are rotated; scores are scaled by sqrt(d)."""
    del pos
    query, keys, values = _project(x, stock.in_proj_weight, stock.num_heads)
    if stock.vbias is not None:
        values = values + stock.value_bias_weight.view(1, stock.num_heads, 1, -1)
    rotated = (_rope_rotate(each.transpose(1, 2)).transpose(1, 2) for each in (query, keys))
    scores = next(rotated) * stock.scale @ next(rotated).mT
    return scores, _further(query * stock.scale, key), values, stock.dropout, stock.out_proj


def _regular(stock, x, pos, key):
    """MultiheadAttention around PyTorch's: scores are scaled by sqrt(d / heads)."""
    stock, heads = stock.att, stock.att.num_heads
    whole = nn.functional.linear(x, stock.in_proj_weight, stock.in_proj_bias).chunk(3, dim=-1)
    query, keys, values = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in whole)
    query = query * stock.head_dim**-0.5
    scores = query @ keys.mT
    scores = scores if pos is None else scores + pos
    return scores, _further(query, key), values, stock.dropout, stock.out_proj


def _project(x, weight, heads):
    """Query, key and value [B, heads, T, d / heads] of a projection that is fused by head."""
    whole = nn.functional.linear(x, weight).unflatten(-1, (heads, -1)).transpose(1, 2)
    return whole.chunk(3, dim=-1)


def _further(query, key):
    """Scores of the further key [B, heads, T, 1]."""
    return None if key is None else query @ key[None, :, :, None]


_SCORES = {RelPosMHAXL: _relative, RoPEMHA: _rotary, MultiheadAttention: _regular}
