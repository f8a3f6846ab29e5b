"""What a model costs: parameters, multiply-adds, activation memory.

Everything is counted, not timed, so the figures are the same on every machine. All three work on
the ``meta`` device too, where a model of any size is described without allocating it.
"""

import weakref
from collections.abc import Callable

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from torch.utils.weak import WeakIdKeyDictionary


def count_parameters(parts: dict[str, nn.Module]) -> dict[str, int]:
    """Number of parameters of each part, each parameter counted once.

    Arguments
    ---------
    parts : dict of str to torch.nn.Module
        Parts by name. A parameter that stands in several parts counts in the first of them.

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
    """Multiply-adds of one call: its matrix products, convolutions and attention.

    Element-wise work, normalization and the Fourier transform are not counted, as is usual.
    LSTM and GRU layers are only counted on the ``meta`` device.

    Arguments
    ---------
    forward : callable
        Called once, without gradients, with no arguments.

    Returns
    -------
    int
        Half of the floating-point operations that PyTorch's own counter finds.

    Example
    -------
    >>> layer, frames = nn.Linear(16, 32, device="meta"), torch.empty(1, 10, 16, device="meta")
    >>> multiply_adds(lambda: layer(frames))
    5120
    """
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernels are invisible to the counter
    try:
        with torch.no_grad(), counter:
            forward()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2


def multiply_adds_per_second(model, loops=None, seconds: int = 10) -> int:
    """Multiply-adds of recognizing one second of audio, from normalized features on.

    Arguments
    ---------
    model : ASRModel
        On any device, ``meta`` included.
    loops : int or dict, optional
        Loop counts; those of the model's own schedule by default.
    seconds : int
        Length of the utterance that is counted, alone in its batch.

    Returns
    -------
    int
        Of the encoder with its front-end and CTC head; the attention decoder runs by token, not by
        second, and is left out.
    """
    features, frames = _silence(model, seconds)
    return multiply_adds(lambda: model.from_features(features, frames, loops=loops)) // seconds


def training_step_activation_bytes(model, seconds: int = 10, tokens_per_second: int = 5) -> int:
    """Peak activation memory of training an ASR model on one utterance.

    Arguments
    ---------
    model : ASRModel
        In training mode, on any device, ``meta`` included.
    seconds : int
        Length of the utterance.
    tokens_per_second : int
        How many tokens the attention decoder is given, if there is one.

    Returns
    -------
    int
        Bytes; see :func:`peak_activation_bytes`.
    """
    features, frames = _silence(model, seconds)
    tokens = torch.ones(1, seconds * tokens_per_second, dtype=torch.long, device=features.device)

    def loss():
        outputs = model.from_features(features, frames, tokens)
        found = [outputs.log_probs] if outputs.decoded is None else [outputs.log_probs, outputs.decoded]
        return sum(log_probs.sum() for log_probs in found)

    return peak_activation_bytes(loss)


def _silence(model, seconds):
    """Features [1, T, F] of so many seconds, and their number [1]."""
    device = next(model.parameters()).device
    n_frames = 1 + seconds * model.sample_rate // model.compute_features.compute_STFT.hop_length
    features = torch.zeros(1, n_frames, model.compute_features.compute_fbanks.n_mels, device=device)
    return features, torch.full((1,), n_frames, device=device)


def _cpu_attention_flops(query, key, value, *args, out_shape=None, **kwargs) -> int:
    return sdpa_flop_count(query, key, value)


# PyTorch's counter knows the fused attention of GPUs but not that of CPUs, and would count nothing.
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention_flops,
}


def peak_activation_bytes(loss: Callable[[], torch.Tensor]) -> int:
    """Peak activation memory of one training step, without a GPU.

    Every tensor that the forward pass creates is followed until it is freed, through the
    backward pass, where what is recomputed (``torch.utils.checkpoint``) counts again. Parameters,
    inputs, gradients and the temporaries of the backward pass are not activations.

    Arguments
    ---------
    loss : callable
        Runs the forward pass, with no arguments, and returns a scalar loss ``[]``; its backward
        pass is run here, and the gradients are left in the parameters.

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
    """Bytes in storages that came into being here and are still alive, and their maximum."""

    def __init__(self):
        super().__init__()
        self.backward = False
        self.alive = self.peak = 0
        self.known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self._add((args, kwargs), created=False)
        result = func(*args, **(kwargs or {}))
        # autograd runs the backward pass with gradients disabled; recomputation enables them
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
