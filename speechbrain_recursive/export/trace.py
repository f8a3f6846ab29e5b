"""Functions of a model as ONNX graphs, whose weights keep their names."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import onnx
import torch
from onnx import numpy_helper
from speechbrain.nnet.attention import MemoiseAtLeastSize, PrecomputedRoPESinusoids
from speechbrain.processing import features
from torch import nn

from speechbrain_recursive.nn.conditioning import lora

OPSET = 17  # of the year 2022, which the runtimes of phones and browsers read


class _Call(nn.Module):
    """Calls a function, with the model as a child so that its weights have names in the graph."""

    def __init__(self, model: nn.Module, function: Callable, count: int):
        super().__init__()
        self.model = model
        self.function = function
        self.count = count

    def forward(self, *args):
        with _traceable(self.model, args[self.count :]):
            return self.function(*args[: self.count])


def trace(
    model: nn.Module,
    function: Callable[..., Any],
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
) -> onnx.GraphProto:
    """Trace a function of tensors.

    Sizes of the time axis, the second one of each input, remain free.

    Arguments
    ---------
    model : torch.nn.Module
        The model, in eval mode, whose weights the function reads.
    function : callable
        From tensors to a tensor or a tuple of tensors. Branches on values are taken as they are for
        these inputs.
    inputs : mapping of str to torch.Tensor
        Its arguments in order, by the names that they get.
    outputs : sequence of str
        Names of what it returns.

    Returns
    -------
    onnx.GraphProto
        Its initializers are the weights that are read, by their names in ``model.state_dict()``, and
        small tables of the features.
    """
    stream, tables = io.BytesIO(), _tables(model)
    axes = {name: {1: f"time of {name}"} for name, x in inputs.items() if x.dim() > 1}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about branches
        torch.onnx.export(
            _Call(model, function, len(inputs)).eval(),
            (*inputs.values(), *tables.values()),
            stream,
            input_names=[*inputs, *tables],
            output_names=[*outputs],
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=False,  # weights keep their names and their layout
            dynamo=False,
        )
    graph = onnx.load_from_string(stream.getvalue()).graph
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix("model.")
    for node in graph.node:
        node.input[:] = [name.removeprefix("model.") for name in node.input]
        node.output[:] = [name.removeprefix("model.") for name in node.output]  # copies of equal weights
    read = {name for node in graph.node for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(table.numpy(), name) for name, table in tables.items() if name in read
    )
    del graph.input[len(inputs) :]
    return graph


def _tables(model: nn.Module) -> dict[str, torch.Tensor]:
    """What large constants of the features are made of, for the graph to compute them.

    Tracing would fold what depends on nothing else: a table of 0.6 MB for the Fourier transform.
    """
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, features.STFT):
            found[f"{name}.time"] = torch.arange(module.n_fft)
        if isinstance(module, features.Filterbank):
            found |= {f"{name}.f_central": module.f_central, f"{name}.band": module.band}
    return found


@contextmanager
def _traceable(model: nn.Module, tables: Sequence[torch.Tensor]) -> Iterator[None]:
    """Let modules compute for every length what they would keep for one.

    Rotary tables are not memoized, no utterance is padded, and the Fourier transform is a product of
    matrices: ONNX has no complex numbers, and the ``STFT`` of onnxruntime differs from PyTorch's by up
    to 0.01 dB.
    """
    kept = {}
    for path, table in zip(_tables(model), tables, strict=True):
        owner, _, name = path.rpartition(".")
        module = model.get_submodule(owner)
        kept[module] = dict(vars(module))
        setattr(module, name, table)
        if isinstance(module, features.Filterbank):
            module.all_freqs_mat = kept[module]["all_freqs_mat"][:1]  # all rows are alike
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused kernels that ONNX does not have
    try:
        with (
            patch.object(
                MemoiseAtLeastSize, "__call__", lambda _, *args: PrecomputedRoPESinusoids(*args)
            ),
            patch.object(features.STFT, "forward", _stft),
            patch.object(features, "make_padding_mask", lambda x, *_, **__: torch.ones_like(x).bool()),
            patch.object(lora, "functional_call", _with_weights),
            patch.object(nn.functional, "_in_projection_packed", _projected),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, attributes in kept.items():
            vars(module).clear()
            vars(module).update(attributes)


def _projected(query, key, value, weight, bias):
    """Query, key and value of self-attention, by one product instead of three with parts of a weight."""
    return nn.functional.linear(query, weight, bias).chunk(3, -1)


def _with_weights(module: nn.Module, weights: Mapping[str, torch.Tensor], args: tuple) -> Any:
    """``torch.func.functional_call``, which refuses to be traced."""
    kept = {}
    for path, value in weights.items():
        owner, _, name = path.rpartition(".")
        room = module.get_submodule(owner)._parameters
        kept[path] = room, name, room[name]
        room[name] = value
    try:
        return module(*args)
    finally:
        for room, name, value in kept.values():
            room[name] = value


def _stft(stft: features.STFT, x: torch.Tensor) -> torch.Tensor:
    """The transform [B, T, F, 2] of waveforms [B, S], by sines and cosines that the graph computes."""
    size, side = stft.n_fft, stft.n_fft - stft.win_length
    window = nn.functional.pad(stft.window, (side // 2, side - side // 2))
    if stft.center:
        x = nn.functional.pad(x[:, None], (size // 2, size // 2), stft.pad_mode)[:, 0]
    turns = stft.time[:, None] * stft.time[: size // 2 + 1] % size  # exact, so that angles are small
    angles = turns * (2 * torch.pi / size)
    basis = torch.cat([angles.cos(), -angles.sin()], 1) * window[:, None]
    spectrum = nn.functional.conv1d(x[:, None], basis.T[:, None], stride=stft.hop_length)
    return torch.stack(spectrum.transpose(1, 2).chunk(2, -1), -1)
