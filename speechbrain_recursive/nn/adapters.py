"""What differs between families of stock layers: how they are called and where their padding leaks.

The layers are SpeechBrain's own; nothing of them is rewritten.
"""

from dataclasses import replace

import torch
from speechbrain.lobes.models.transformer.Branchformer import BranchformerEncoder
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.nnet.attention import MultiheadAttention, RoPEMHA

from speechbrain_recursive.nn.padding import padding, reflect_own_end, zero_padded_output
from speechbrain_recursive.nn.state import State


class Transformer:
    """SpeechBrain's ``TransformerEncoder``, and the part that all its families share."""

    def prepare(
        self,
        src,
        src_mask=None,
        src_key_padding_mask=None,
        pos_embs=None,
        dynchunktrain_config=None,
    ):
        """The stock encoder's arguments as a state.

        Arguments
        ---------
        src : torch.Tensor
            [B, T, d].
        src_mask : torch.Tensor, optional
            [T, T], True where attention is forbidden.
        src_key_padding_mask : torch.BoolTensor, optional
            [B, T], True on padding.
        pos_embs : torch.Tensor, optional
            Relative positions [1, 2T-1, d].
        dynchunktrain_config : DynChunkTrainConfig, optional
            Dynamic chunk training (Conformer only).

        Returns
        -------
        State

        Raises
        ------
        ValueError
            If the family's layers know no chunks.
        """
        if dynchunktrain_config is not None:
            raise ValueError(f"{type(self).__name__} layers know no dynamic chunks; use a Conformer")
        return State(src, pad=src_key_padding_mask, mask=src_mask, pos=pos_embs)

    def call(self, state, layer):
        """Apply one layer.

        Returns
        -------
        torch.Tensor
            [B, T, d].
        torch.Tensor or None
            Attention weights, as the layer gives them.
        """
        return layer(
            state.x,
            src_mask=state.mask,
            src_key_padding_mask=state.pad,
            pos_embs=state.pos,
            **state.extra,
        )

    def guard(self, layer):
        """Keep the layer from mixing padded frames into real ones."""

    def compile(self, layer):
        """Compile the layer for inputs of any size.

        Raises
        ------
        ValueError
            For ``RoPEMHA``: its growing memo of positions outdates a compilation and breaks
            recomputation.
        """
        if any(isinstance(module, RoPEMHA) for module in layer.modules()):
            raise ValueError(
                "compile_layers: SpeechBrain's RoPEMHA cannot be compiled once for all lengths; "
                "take another attention_type, or nn.larm.RopeEncoder for encoder"
            )
        layer.compile(dynamic=True)


class Conformer(Transformer):
    """SpeechBrain's ``ConformerEncoder``: masks only after its convolution; streams in chunks."""

    def prepare(self, *args, dynchunktrain_config=None, **kwargs):
        """As the Transformer's, with dynamic chunks."""
        extra = {"dynchunktrain_config": dynchunktrain_config}
        return replace(super().prepare(*args, **kwargs), extra=extra)

    def call(self, state, layer):
        """As the Transformer's; with ``contexts`` in ``state.extra`` the layer streams."""
        if "contexts" in state.extra:
            context = state.extra["contexts"][state.step.index]
            return layer.forward_streaming(state.x, context=context, pos_embs=state.pos)
        if state.pad is not None and isinstance(layer.mha_layer, MultiheadAttention):
            state = replace(state, mask=_soft(state.mask))
        with padding(None if state.pad is None else state.frames):
            return super().call(state, layer)

    def guard(self, layer):
        zero_padded_output(layer.convolution_module.bottleneck)


class Branchformer(Transformer):
    """SpeechBrain's ``BranchformerEncoder``: its gate's convolution reflects, and knows no mask."""

    def call(self, state, layer):
        with padding(None if state.pad is None else state.frames):
            return super().call(state, layer)

    def guard(self, layer):
        reflect_own_end(layer.convolution_branch.csgu.conv)


def _soft(mask):
    """A boolean mask as finite scores, which forbid as well wherever a real frame can attend.

    A padded frame whose whole chunk is padding has nothing left to attend to: PyTorch's attention
    gives it NaN, and the next loop would spread that over the batch.
    """
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, device=mask.device).masked_fill(mask, -1e4)


_FAMILIES = (
    (TransformerEncoder, Transformer),
    (ConformerEncoder, Conformer),
    (BranchformerEncoder, Branchformer),
)


def adapter_for(encoder):
    """The family of a stock encoder.

    Arguments
    ---------
    encoder : torch.nn.Module
        A stock one, or one that brings its own ``family``.

    Returns
    -------
    Transformer, Conformer, Branchformer or the encoder's own

    Raises
    ------
    TypeError
        For an encoder of no known family.
    """
    if hasattr(encoder, "family"):
        return encoder.family
    for stock, family in _FAMILIES:
        if isinstance(encoder, stock):
            return family()
    raise TypeError(f"no family of layers is known for {type(encoder).__name__}")
