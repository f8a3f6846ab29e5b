"""One ONNX graph from several: weights once, blocks of a schedule as loops."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from speechbrain_recursive.export.trace import OPSET

IR_VERSION = 8  # of the same year as the operators


class Graph:
    """A graph in the making. Every value has a name of its own, in subgraphs as well.

    Subgraphs read the weights and the values of the graph around them by name, so that a layer that
    runs in a loop is stored once.
    """

    def __init__(self):
        self.weights: dict[str, TensorProto] = {}
        self._names = (f"v{index}" for index in count())
        self._constants = {}

    def name(self) -> str:
        """A new name."""
        return next(self._names)

    def constant(self, value: np.ndarray) -> str:
        """The name of a constant, the same for equal values."""
        key = value.dtype.str, value.shape, value.tobytes()
        if key not in self._constants:
            self._constants[key] = f"c{len(self._constants)}"
            self.weights[self._constants[key]] = numpy_helper.from_array(value, self._constants[key])
        return self._constants[key]

    def add(
        self, nodes: list[onnx.NodeProto], part: onnx.GraphProto, inputs: Mapping[str, str]
    ) -> list[str]:
        """Append a traced part.

        Arguments
        ---------
        nodes : list of onnx.NodeProto
            What to append to: the graph's, or a subgraph's.
        part : onnx.GraphProto
            From :func:`~speechbrain_recursive.export.trace.trace`.
        inputs : mapping of str to str
            From the names of its inputs to those of values here.

        Returns
        -------
        list of str
            Names here of what it returns.
        """
        names = dict(inputs)
        for tensor in part.initializer:
            self.weights.setdefault(tensor.name, tensor)
        for node in part.node:
            if node.op_type == "Constant":
                names[node.output[0]] = self.constant(numpy_helper.to_array(node.attribute[0].t))
            elif node.op_type == "Identity":
                names[node.output[0]] = names.get(node.input[0], node.input[0])
            else:
                own = [names.get(name, name) for name in node.input]
                names.update((name, self.name()) for name in node.output if name)
                outputs = [names.get(name, name) for name in node.output]
                made = helper.make_node(node.op_type, own, outputs)
                made.attribute.extend(node.attribute)
                nodes.append(made)
        return [names.get(value.name, value.name) for value in part.output]

    def loop(
        self,
        nodes: list[onnx.NodeProto],
        trips: str,
        iteration: str,
        body: list[onnx.NodeProto],
        carried: Mapping[str, tuple[str, str]],
    ) -> list[str]:
        """Append a loop.

        Arguments
        ---------
        nodes : list of onnx.NodeProto
            What to append to.
        trips : str
            Number of passes, int64 [].
        iteration : str
            What the body calls the number of its pass, counted from 0.
        body : list of onnx.NodeProto
            One pass.
        carried : mapping of str to (str, str)
            By the names that the body has for them: values before the loop, and after a pass.

        Returns
        -------
        list of str
            Names of the values after the loop.
        """
        going, still = self.name(), self.name()
        body = [*body, helper.make_node("Identity", [going], [still])]
        ends = []
        for _, after in carried.values():  # values that come from around the subgraph must be copied
            end = self.name()
            body.append(helper.make_node("Identity", [after], [end]))
            ends.append(end)
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            body,
            "loop",
            [value(iteration, TensorProto.INT64, []), value(going, TensorProto.BOOL, [])]
            + [value(name, TensorProto.FLOAT, None) for name in carried],
            [value(still, TensorProto.BOOL, [])] + [value(end, TensorProto.FLOAT, None) for end in ends],
        )
        outputs = [self.name() for _ in carried]
        begin = [before for before, _ in carried.values()]
        nodes.append(helper.make_node("Loop", [trips, "", *begin], outputs, body=graph))
        return outputs

    def either(
        self,
        nodes: list[onnx.NodeProto],
        condition: str,
        then: tuple[list[onnx.NodeProto], Sequence[str]],
        otherwise: Sequence[str],
    ) -> list[str]:
        """Append a branch: nodes and the names of their results, or else values that are there."""
        value = helper.make_tensor_value_info
        branches = {}
        for branch, (inner, results) in {"then": then, "else": ([], otherwise)}.items():
            ends = [self.name() for _ in results]
            copies = (helper.make_node("Identity", [a], [b]) for a, b in zip(results, ends, strict=True))
            outputs = [value(end, TensorProto.FLOAT, None) for end in ends]
            branches[f"{branch}_branch"] = helper.make_graph([*inner, *copies], branch, [], outputs)
        outputs = [self.name() for _ in otherwise]
        nodes.append(helper.make_node("If", [condition], outputs, **branches))
        return outputs

    def model(
        self,
        nodes: list[onnx.NodeProto],
        inputs: Mapping[str, tuple[int, Sequence[int | str]]],
        outputs: Mapping[str, tuple[int, Sequence[int | str]]],
    ) -> onnx.ModelProto:
        """Finish.

        Arguments
        ---------
        nodes : list of onnx.NodeProto
            All nodes, in order.
        inputs, outputs : mapping of str to (int, sequence)
            Types and shapes by name.

        Returns
        -------
        onnx.ModelProto
            Checked. Weights that every node transposes are stored transposed.
        """
        self._transpose(nodes)
        read = {name for inner in node_lists(nodes) for node in inner for name in node.input}
        infos = [
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in each.items()]
            for each in (inputs, outputs)
        ]
        weights = [tensor for name, tensor in self.weights.items() if name in read]
        graph = helper.make_graph(nodes, "asr", *infos, initializer=weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        made.ir_version, made.producer_name = IR_VERSION, "speechbrain_recursive"
        onnx.checker.check_model(made)
        return made

    def _transpose(self, nodes):
        """Store weights transposed that are read transposed, in one order, and no other way."""
        readers, orders, names = defaultdict(list), defaultdict(set), {}
        for node in (node for inner in node_lists(nodes) for node in inner):
            for name in node.input:
                readers[name].append(node)
                order = [tuple(each.ints) for each in node.attribute if each.name == "perm"]
                orders[name].add((node.op_type, *order))
        for name in self.weights:
            if len(orders[name]) == 1 and (kind := orders[name].pop())[0] == "Transpose":
                turned = numpy_helper.to_array(self.weights[name]).transpose(*kind[1:])
                self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(turned), name)
                names |= {node.output[0]: name for node in readers[name]}
        for inner in node_lists(nodes):
            for node in [*inner]:
                if node.output[0] in names:
                    inner.remove(node)
                else:
                    node.input[:] = [names.get(name, name) for name in node.input]


def node_lists(nodes) -> Iterator:
    """The nodes of a graph, and those of the subgraphs in it."""
    yield nodes
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from node_lists(attribute.g.node)
