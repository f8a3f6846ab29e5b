"""Exact padding: an utterance gives the same output alone and in any batch.

SpeechBrain's convolutions read the padded frames of a batch: Conformer applies its padding mask only
after the depthwise convolution, Branchformer applies none, and layers that pad by reflection mirror the
padding instead of the end of the utterance. Recursion compounds these leaks. The group norm of wav2vec
2.0 averages over the padding.

:func:`zero_padded_output`, :func:`reflect_own_end` and :func:`own_statistics` attach a forward hook to
such a layer, once. The hook is active inside the context manager :func:`padding`, which provides the
number of real frames of each row. Parameters and state-dict keys stay the same, and without padding so
does the output.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn

_FRAMES = ContextVar("frames", default=None)


@contextmanager
def padding(frames: torch.Tensor | None) -> Iterator[Callable[[], torch.Tensor | None]]:
    """Provide the number of real frames to layers with a hook.

    Arguments
    ---------
    frames : torch.LongTensor or None
        Absolute frame counts [B], or None if no row is padded. Layers with a stride update the counts
        for the layers after them.

    Yields
    ------
    callable
        Returns the present counts [B].
    """
    token = _FRAMES.set([frames])
    try:
        yield lambda: _FRAMES.get()[0]
    finally:
        _FRAMES.reset(token)


def pad_mask(frames: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Return a mask [B, T] that is True on padding, given absolute frame counts [B] and T."""
    return torch.arange(n_frames, device=frames.device) >= frames[:, None]


def own_frames(pad: torch.Tensor) -> torch.Tensor:
    """Return the absolute frame counts [B] of a mask [B, T] that is True on padding."""
    return (~pad).sum(1)


def zero_padded_output(module: nn.Module) -> None:
    """Make a module zero the padded frames of its output [B, C, T].

    Conformer's convolution module needs this after its pointwise ``bottleneck``, because the depthwise
    convolution of a single utterance reads zeros there. It also works with dynamic chunks.
    """
    if _zero not in module._forward_hooks.values():
        module.register_forward_hook(_zero)


def reflect_own_end(conv: nn.Module) -> None:
    """Make a SpeechBrain ``Conv1d`` or ``Conv2d`` pad each row by reflection at the row's own end.

    Input and output are [B, T, ...]. Rows shorter than half the kernel, for which the stock layer raises
    an error, are reflected repeatedly. A layer with a stride updates the frame counts accordingly.

    Raises
    ------
    ValueError
        If the layer's padding is not ``same`` by reflection.
    """
    if conv.padding != "same" or conv.padding_mode != "reflect":
        raise ValueError(f"exact padding needs convolutions that pad by reflection, not {conv.padding}")
    if _trim not in conv._forward_hooks.values():
        conv.register_forward_pre_hook(_extend)
        conv.register_forward_hook(_trim)


def own_statistics(norm: nn.GroupNorm) -> None:
    """Make a group norm over [B, C, T], with a group per channel, use each row's own frames alone.

    Rows without padding have the stock output, to the bit.

    Raises
    ------
    ValueError
        If a group has several channels.
    """
    if norm.num_groups != norm.num_channels:
        raise ValueError(f"exact padding needs a group per channel, not {norm.num_groups} groups")
    if _normalize not in norm._forward_hooks.values():
        norm.register_forward_hook(_normalize)


def _normalize(norm, args, output):
    """Normalize each row by the mean and the variance of its own frames."""
    counts = _FRAMES.get()
    if counts is None or counts[0] is None:
        return None
    x, frames = args[0].float(), counts[0][:, None, None]
    pad = pad_mask(counts[0], x.shape[-1])[:, None]
    centered = (x - x.masked_fill(pad, 0.0).sum(-1, keepdim=True) / frames).masked_fill(pad, 0.0)
    scale = (centered.square().sum(-1, keepdim=True) / frames + norm.eps).rsqrt()
    own = torch.addcmul(norm.bias[:, None], centered, scale * norm.weight[:, None])
    return torch.where(frames == x.shape[-1], output, own.to(output.dtype))


def _zero(module, args, output):
    counts = _FRAMES.get()
    if counts is None or counts[0] is None:
        return None
    return output.masked_fill(pad_mask(counts[0], output.shape[-1])[:, None], 0.0)


def _geometry(conv):
    """Kernel extent, stride and one-sided padding of a SpeechBrain convolution, along time."""
    kernel, stride, dilation = (
        size[-1] if isinstance(size, tuple) else size
        for size in (conv.kernel_size, conv.stride, conv.dilation)
    )
    extent = dilation * (kernel - 1) + 1
    return extent, stride, kernel // 2 if stride > 1 else (extent - 1) // 2


def _extend(conv, args):
    """Extend each row by the reflection of its own end, as far as the kernel reaches."""
    (x,) = args
    reach = _geometry(conv)[2]
    counts = _FRAMES.get()
    if counts is None or (counts[0] is None and x.shape[1] > reach and not torch.jit.is_tracing()):
        return None  # a trace is for rows of any length
    if counts[0] is None:
        counts[0] = torch.full(x.shape[:1], x.shape[1], device=x.device)
    frames = counts[0][:, None]
    time = torch.arange(x.shape[1] + reach, device=x.device)
    period = (2 * (frames - 1)).clamp(min=1)
    source = torch.where(time < frames, time, torch.minimum(time % period, -time % period))
    return (x[torch.arange(len(x), device=x.device)[:, None], source],)


def _trim(conv, args, output):
    """Remove the frames that the extension added and update the frame counts."""
    counts = _FRAMES.get()
    if counts is None or counts[0] is None:
        return None
    extent, stride, reach = _geometry(conv)
    counts[0] = (counts[0] + 2 * reach - extent) // stride + 1
    return output[:, : (args[0].shape[1] + reach - extent) // stride + 1]
