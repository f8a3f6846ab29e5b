"""Counts a model's parameters, multiply-adds and activation memory.

Nothing is timed, so the numbers are the same on every machine. All functions also work on the ``meta``
device, where a model of any size takes no memory.
"""

import weakref
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from torch.utils.weak import WeakIdKeyDictionary

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request


def count_parameters(parts: Mapping[str, nn.Module]) -> dict[str, int]:
    """Number of parameters of each part, each parameter counted once.

    Arguments
    ---------
    parts : mapping of str to torch.nn.Module
        Parts by name. A parameter that several parts share counts for the first of them.

    Returns
    -------
    dict of str to int
        The parts in their order, then ``total``.

    Example
    -------
    >>> layer = nn.Linear(3, 4)
    >>> count_parameters({"encoder": nn.Sequential(layer, layer), "head": nn.Linear(4, 2)})
    {'encoder': 16, 'head': 10, 'total': 26}
    """
    seen = set()
    counts = {}
    for name, part in parts.items():
        new = [parameter for parameter in part.parameters() if parameter not in seen]
        seen.update(new)
        counts[name] = sum(parameter.numel() for parameter in new)
    return {**counts, "total": sum(counts.values())}


def multiply_adds(forward: Callable[[], object]) -> int:
    """Multiply-adds of one call: matrix products, convolutions and attention.

    Element-wise operations, normalization and the Fourier transform are not counted, as usual. LSTM and
    GRU layers are only counted on the ``meta`` device.

    Arguments
    ---------
    forward : callable
        Called once, without gradients, with no arguments.

    Returns
    -------
    int
        Half of the floating-point operations that PyTorch's counter finds.

    Example
    -------
    >>> layer, frames = nn.Linear(16, 32, device="meta"), torch.empty(1, 10, 16, device="meta")
    >>> multiply_adds(lambda: layer(frames))
    5120
    """
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not see its fused kernels
    try:
        with torch.no_grad(), counter:
            forward()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2


def multiply_adds_per_second(model: nn.Module, depth: Depth | None = None, seconds: int = 10) -> int:
    """Multiply-adds per second of audio, from normalized features to the heads that need no targets.

    An attention decoder is not included: it runs per token, not per second.

    Arguments
    ---------
    model : ASRModel
        On any device, including ``meta``.
    depth : Depth, optional
        The schedule's own by default.
    seconds : int
        Length of the utterance that is counted, alone in its batch.

    Returns
    -------
    int
    """
    features, frames = model.embed.silence(seconds)
    return multiply_adds(lambda: model.from_features(features, frames, depth=depth)) // seconds


def training_step_activation_bytes(
    model: nn.Module,
    seconds: int = 10,
    utterances: int = 1,
    tokens_per_second: int = 5,
    depth: Depth | None = None,
) -> int:
    """Peak activation memory of training an ASR model on one batch, in float32.

    Arguments
    ---------
    model : ASRModel
        In training mode, on any device, including ``meta``.
    seconds : int
        Length of each utterance.
    utterances : int
        Their number.
    tokens_per_second : int
        Number of tokens for heads that need targets.
    depth : Depth, optional
        The schedule's own by default.

    Returns
    -------
    int
        Bytes; see :func:`peak_activation_bytes`.
    """
    features, frames = (x.repeat_interleave(utterances, 0) for x in model.embed.silence(seconds))
    tokens = torch.ones(
        utterances, seconds * tokens_per_second, dtype=torch.long, device=features.device
    )
    targets = {name: tokens for head in model.heads.values() for name in head.targets}

    def loss():
        outputs = model.from_features(features, frames, targets, depth, Request(model.heads))
        return sum(log_probs.sum() for log_probs in outputs.heads.values())

    return peak_activation_bytes(loss)


def _attention_flops(query, key, value, *_, **__):
    return sdpa_flop_count(query, key, value)


# PyTorch's counter knows fused attention on GPUs but not on CPUs, where it would count nothing.
_CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


def peak_activation_bytes(loss: Callable[[], torch.Tensor]) -> int:
    """Peak activation memory of one training step, without a GPU.

    Follows every tensor that the forward pass creates until it is freed, also during the backward pass,
    where recomputed activations (``torch.utils.checkpoint``) count again. Parameters, inputs, gradients
    and temporaries of the backward pass are not activations.

    Arguments
    ---------
    loss : callable
        Takes no arguments, runs the forward pass and returns a scalar loss ``[]``. The backward pass is
        run here and leaves its gradients in the parameters.

    Returns
    -------
    int
        Bytes.

    Example
    -------
    >>> layer = nn.Linear(16, 16, device="meta")
    >>> frames = torch.empty(1, 10, 16, device="meta")
    >>> peak_activation_bytes(lambda: layer(frames).relu().sum())  # two tensors of 640 bytes
    1280
    """
    with _ActivationTracker() as tracker:
        value = loss()
        tracker.backward = True
        value.backward()
    return tracker.peak


class _ActivationTracker(TorchDispatchMode):
    """Bytes of the storages that were created here and are alive, and the maximum of that."""

    def __init__(self):
        super().__init__()
        self.backward = False
        self.alive = self.peak = 0
        self.known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self._add((args, kwargs), created=False)
        result = func(*args, **(kwargs or {}))
        # The backward pass runs with gradients disabled; recomputation enables them.
        self._add(result, created=not self.backward or torch.is_grad_enabled())
        return result

    def _add(self, tree, created: bool):
        for tensor in tree_leaves(tree):
            if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
                continue
            storage = tensor.untyped_storage()
            if storage in self.known:
                continue
            self.known[storage] = True
            if created:
                self.alive += storage.nbytes()
                self.peak = max(self.peak, self.alive)
                weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, n_bytes: int):
        self.alive -= n_bytes
