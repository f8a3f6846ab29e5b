"""How the weights of an exported graph are stored."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST = 256  # values of a tensor, below which it stays as it is


def fp32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave the weights as they are."""
    return model


def fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights in half precision.

    The graph casts them to single precision, in which it computes. Runtimes do this once, when they load
    it, so that the file is half as large and the speed is the same.

    Arguments
    ---------
    model : onnx.ModelProto
        In single precision; it is changed.
    """
    return _stored(model, lambda weight: weight.dims and np.prod(weight.dims) >= LEAST, _half)


def int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights in eight bits, with a scale per output channel.

    Products of matrices are computed in integers, with activations that are quantized as they come, by
    onnxruntime's ``quantize_dynamic``. Weights of convolutions are stored in eight bits as well, and
    computed with in single precision. Biases and norms stay in single precision.

    Arguments
    ---------
    model : onnx.ModelProto
        In single precision; it is changed.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        onnx.save(model, before)
        root, level = logging.getLogger(), logging.getLogger().level
        root.setLevel(logging.ERROR)  # it advises to infer shapes, which loops do not allow
        try:
            quantize_dynamic(
                before,
                after,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                extra_options={"EnableSubgraph": True},
            )
        finally:
            root.setLevel(level)
        model = onnx.load(after)
    return _stored(model, lambda weight: len(weight.dims) > 2 and np.prod(weight.dims) >= LEAST, _eighth)


PRECISIONS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "fp32": fp32,
    "fp16": fp16,
    "int8": int8,
}


def _stored(model, chosen, store):
    """Replace weights by nodes that make them from what is stored, under the same names."""
    kept, nodes = [], []
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT and chosen(weight):
            tensors, node = store(weight.name, numpy_helper.to_array(weight))
            kept += tensors
            nodes.append(node)
        else:
            kept.append(weight)
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def _half(name, weight):
    stored = numpy_helper.from_array(weight.astype(np.float16), f"{name}.half")
    return [stored], helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)


def _eighth(name, weight):
    """Symmetric, by output channel, which comes first."""
    scale = np.abs(weight).reshape(len(weight), -1).max(1) / 127
    scale[scale == 0] = 1.0
    whole = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
    names = f"{name}.int8", f"{name}.scale"
    tensors = [numpy_helper.from_array(each, n) for each, n in zip((whole, scale), names, strict=True)]
    return tensors, helper.make_node("DequantizeLinear", [*names], [name], axis=0)
