"""How each kind of layer is called, and where its padding would leak. The layers are not changed."""

from dataclasses import replace

import torch
from speechbrain.lobes.models.transformer.Branchformer import BranchformerEncoder
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.nnet.attention import MultiheadAttention, RoPEMHA
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.padding import padding, reflect_own_end, zero_padded_output
from speechbrain_recursive.nn.state import State


class TransformerAdapter:
    """For SpeechBrain's ``TransformerEncoder``; the other adapters derive from it."""

    def enter(self, state: State) -> State:
        """Prepare a state of embedded frames for the layers.

        Raises
        ------
        ValueError
            If the state asks for dynamic chunks and the layers do not support them.
        """
        if state.extra.get("dynchunktrain_config") is not None:
            raise ValueError(
                f"{type(self).__name__}: these layers have no dynamic chunks; use a Conformer"
            )
        return replace(state, extra={})

    def call(self, state: State, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Apply one layer.

        Returns
        -------
        torch.Tensor
            [B, T, d].
        torch.Tensor or None
            Attention weights, if the layer returns them.
        """
        return layer(
            state.x,
            src_mask=state.mask,
            src_key_padding_mask=state.pad,
            pos_embs=state.pos,
            **state.extra,
        )

    def guard(self, layer: nn.Module) -> None:
        """Keep the layer from mixing padded frames into real ones, once, when an encoder takes it."""

    def compile(self, layer: nn.Module) -> None:
        """Compile the layer for inputs of any size.

        Raises
        ------
        UserError
            For ``RoPEMHA``: its growing memo of positions outdates a compilation and breaks
            recomputation.
        """
        if any(isinstance(module, RoPEMHA) for module in layer.modules()):
            raise UserError(
                "compile_layers: SpeechBrain's RoPEMHA cannot be compiled once for all lengths; "
                "take another attention_type, or nn.larm.RopeEncoder for the layers"
            )
        layer.compile(dynamic=True)


class ConformerAdapter(TransformerAdapter):
    """For SpeechBrain's ``ConformerEncoder``, which masks only after its convolution and can stream."""

    def enter(self, state: State) -> State:
        """Prepare a state, which may ask for dynamic chunks."""
        return state

    def call(self, state: State, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Apply one layer; with ``contexts`` in ``state.extra`` it streams."""
        if "contexts" in state.extra:
            context = state.extra["contexts"][state.step.index]
            return layer.forward_streaming(state.x, context=context, pos_embs=state.pos)
        if state.pad is not None and isinstance(layer.mha_layer, MultiheadAttention):
            state = replace(state, mask=_soft(state.mask))
        with padding(None if state.pad is None else state.frames):
            return super().call(state, layer)

    def guard(self, layer: nn.Module) -> None:
        """Zero padded frames before the depthwise convolution."""
        zero_padded_output(layer.convolution_module.bottleneck)


class BranchformerAdapter(TransformerAdapter):
    """For SpeechBrain's ``BranchformerEncoder``, whose gate reflects at its ends and takes no mask."""

    def call(self, state: State, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Apply one layer."""
        with padding(None if state.pad is None else state.frames):
            return super().call(state, layer)

    def guard(self, layer: nn.Module) -> None:
        """Let the gate's convolution reflect each row at its own end."""
        reflect_own_end(layer.convolution_branch.csgu.conv)


def _soft(mask):
    """A boolean mask as finite scores, which forbid as well wherever a real frame can attend.

    A padded frame whose whole chunk is padding has nothing left to attend to: PyTorch's attention
    returns NaN for it, and the next loop would spread that over the batch.
    """
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, device=mask.device).masked_fill(mask, -1e4)


_ADAPTERS = (
    (TransformerEncoder, TransformerAdapter),
    (ConformerEncoder, ConformerAdapter),
    (BranchformerEncoder, BranchformerAdapter),
)


def adapter_for(encoder: nn.Module) -> TransformerAdapter:
    """The adapter of an encoder's layers.

    Arguments
    ---------
    encoder : torch.nn.Module
        A stock one, or one that has an ``adapter`` of its own.

    Raises
    ------
    TypeError
        If there is none.
    """
    if hasattr(encoder, "adapter"):
        return encoder.adapter
    for stock, adapter in _ADAPTERS:
        if isinstance(encoder, stock):
            return adapter()
    raise TypeError(f"no adapter for the layers of {type(encoder).__name__}")
