"""Exact padding: a batched utterance gives the output that it gives alone.

SpeechBrain's convolutions see the padded frames of a batch: Conformer masks only after its depthwise
convolution, Branchformer not at all, and layers that pad by reflection mirror the padding instead of
the utterance's own end. Recursion compounds each leak. The hooks of this module are attached once to
such a layer (:func:`zero_padded_output`, :func:`reflect_own_end`) and act while :func:`padding` says
how many frames each row of the batch has; they change neither parameters nor state-dict keys, and
without padding the layer computes what it always did.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import torch

_FRAMES = ContextVar("frames", default=None)


@contextmanager
def padding(frames):
    """Tell hooked layers how many frames are real.

    Arguments
    ---------
    frames : torch.LongTensor or None
        Absolute frame counts [B] of the rows; ``None`` where no row is padded. A hooked layer that
        strides updates the counts for the layers after it.

    Yields
    ------
    Callable
        Returns the counts [B] as they are now.
    """
    token = _FRAMES.set([frames])
    try:
        yield lambda: _FRAMES.get()[0]
    finally:
        _FRAMES.reset(token)


def pad_mask(frames, n_frames):
    """Mask [B, T] that is True on padding, from absolute frame counts [B]."""
    return torch.arange(n_frames, device=frames.device) >= frames[:, None]


def own_frames(pad):
    """Absolute frame counts [B] of a mask [B, T] that is True on padding."""
    return (~pad).sum(1)


def zero_padded_output(module):
    """Zero the padded frames of a module's output [B, C, T].

    Conformer's convolution module needs it after its pointwise ``bottleneck``: alone, an utterance's
    depthwise convolution sees zeros there. It serves the dynamic-chunk path as well.
    """
    if _zero not in module._forward_hooks.values():
        module.register_forward_hook(_zero)


def reflect_own_end(conv):
    """Let a stock SpeechBrain ``Conv1d``/``Conv2d`` reflect each row at the row's own end.

    Input and output are [B, T, ...]. Rows shorter than half the kernel, on which the stock layer
    raises, are reflected back and forth. A strided layer divides the frame counts as it divides time.

    Raises
    ------
    ValueError
        For any padding other than ``same`` by reflection.
    """
    if conv.padding != "same" or conv.padding_mode != "reflect":
        raise ValueError(f"exact padding needs convolutions that pad by reflection, not {conv.padding}")
    if _trim not in conv._forward_hooks.values():
        conv.register_forward_pre_hook(_extend)
        conv.register_forward_hook(_trim)


def _zero(module, args, output):
    counts = _FRAMES.get()
    if counts is None or counts[0] is None:
        return None
    return output.masked_fill(pad_mask(counts[0], output.shape[-1])[:, None], 0.0)


def _geometry(conv):
    """Extent of the kernel, stride and one-sided padding of a SpeechBrain convolution in time."""
    kernel, stride, dilation = (
        size[-1] if isinstance(size, tuple) else size
        for size in (conv.kernel_size, conv.stride, conv.dilation)
    )
    extent = dilation * (kernel - 1) + 1
    return extent, stride, kernel // 2 if stride > 1 else (extent - 1) // 2


def _extend(conv, args):
    """Append the reflection of each row's own end, as far as the kernel reaches past it."""
    (x,) = args
    reach = _geometry(conv)[2]
    counts = _FRAMES.get()
    if counts is None or (counts[0] is None and x.shape[1] > reach):
        return None
    if counts[0] is None:
        counts[0] = torch.full(x.shape[:1], x.shape[1], device=x.device)
    frames = counts[0][:, None]
    time = torch.arange(x.shape[1] + reach, device=x.device)
    period = (2 * (frames - 1)).clamp(min=1)
    source = torch.where(time < frames, time, torch.minimum(time % period, -time % period))
    return (x[torch.arange(len(x), device=x.device)[:, None], source],)


def _trim(conv, args, output):
    """Drop the frames that the extension added; count the real ones that are left."""
    counts = _FRAMES.get()
    if counts is None or counts[0] is None:
        return None
    extent, stride, reach = _geometry(conv)
    counts[0] = (counts[0] + 2 * reach - extent) // stride + 1
    return output[:, : (args[0].shape[1] + reach - extent) // stride + 1]
