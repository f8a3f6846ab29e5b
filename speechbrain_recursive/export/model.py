"""A whole ASR model as one ONNX graph: loop counts are an input, and every weight is stored once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.export.graph import Graph
from speechbrain_recursive.export.trace import trace
from speechbrain_recursive.nn.block import Watch, begin_loop, leave_block, run_layers
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.schedule import Block, Step
from speechbrain_recursive.nn.state import State

WAV, LOOPS, LOG_PROBS = "wav", "loops", "log_probs"
Part = Callable[..., State]


def to_onnx(model: ASRModel, depth: Depth | None = None, normalized: bool = False) -> onnx.ModelProto:
    """Build the graph from waveform to CTC log-posteriors.

    Each block that recurs is an ONNX ``Loop`` around its layers. What hooks do before a loop is a branch
    that the first loop does not take.

    Arguments
    ---------
    model : ASRModel
        On the CPU, in eval mode.
    depth : Depth, optional
        A fixed depth. By default, the loop counts are an input.
    normalized : bool
        Waveforms come with mean 0 and variance 1; see :func:`without_offset`.

    Returns
    -------
    onnx.ModelProto
        Inputs: ``wav`` [1, S] float32, and ``loops`` [N] int64, the count of each block that recurs, in
        order, unless there is none or the depth is fixed. Output: ``log_probs`` [1, T, V] float32.

    Raises
    ------
    UserError
        If utterances leave a block early, which a graph cannot.
    ValueError
        If the fixed depth is not one of the model's own blocks, the same for all rows.
    """
    return _Builder(model, normalized).build(depth)


def without_offset(wavs: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Bring silence back to 0 in waveforms whose mean was subtracted.

    Features that are normalized by utterance do not depend on the gain, but an offset adds low
    frequencies where there was silence, since the mean of speech is not 0. Silence is taken to be the 25
    ms with the least variance, of every 10 ms.

    Arguments
    ---------
    wavs : torch.Tensor
        [1, S].
    sample_rate : int
        Samples per second.

    Returns
    -------
    torch.Tensor
        [1, S].

    Example
    -------
    >>> wav = torch.cat([torch.rand(1, 16000), torch.zeros(1, 800)], 1)
    >>> torch.allclose(without_offset(wav - wav.mean(), 16000), wav, atol=1e-4)
    True
    """
    size = sample_rate // 40
    pool = partial(
        torch.nn.functional.avg_pool1d,
        kernel_size=size,
        stride=sample_rate // 100,
        padding=size // 2,
        count_include_pad=False,
    )
    means = pool(wavs[:, None])[:, 0]
    quietest = (pool(wavs[:, None] ** 2)[:, 0] - means**2).argmin(1, keepdim=True)
    return wavs - means.gather(1, quietest)


class _Builder:
    """Appends the parts of a model to a graph, one after another.

    ``state`` is an example of the state so far, and ``names`` are those of its tensors in the graph.
    """

    def __init__(self, model: ASRModel, normalized: bool):
        self.model, self.encoder, self.normalized = model, model.encoder, normalized
        self.graph, self.nodes = Graph(), []
        self.state, self.names = State(torch.linspace(-0.1, 0.1, model.sample_rate)[None]), {"x": WAV}

    def build(self, depth: Depth | None) -> onnx.ModelProto:
        """All parts, in order."""
        schedule = self.encoder.schedule
        if depth is not None and (
            depth.rows or depth.schedule != schedule.with_loops(**depth.schedule.loops)
        ):
            raise ValueError(f"{depth.schedule} is not one depth of {schedule}")
        fixed = {} if depth is None else depth.schedule.loops
        free = [name for name in schedule.loops if name not in fixed]
        self.run(self.nodes, self._front)
        for block in schedule.blocks:
            trips = None
            if block.name in fixed:
                trips = self.integer(fixed[block.name])
            elif block.recurs:
                trips = self.graph.name()
                at = self.integer(free.index(block.name))
                self.nodes.append(helper.make_node("Gather", [LOOPS, at], [trips]))
            self.block(block, trips)
        self.run(self.nodes, self._tail)
        self.nodes.append(helper.make_node("Identity", [self.names["x"]], [LOG_PROBS]))
        inputs = {WAV: (TensorProto.FLOAT, [1, "samples"])}
        if free:
            inputs[LOOPS] = TensorProto.INT64, [len(free)]
        shape = [1, "frames", self.state.x.shape[-1]]
        return self.graph.model(self.nodes, inputs, {LOG_PROBS: (TensorProto.FLOAT, shape)})

    def block(self, block: Block, trips: str | None) -> None:
        """Append all loops of a block; None for ``trips`` stands for one."""
        hooks = self.encoder.hooks_of(block.name)
        if any(type(hook).done is not Hook.done for hook in hooks):
            raise UserError(f"block '{block.name}' has an adaptive exit, which cannot be exported")
        steps = [Step(index, layer, 0, block.name) for index, layer in enumerate(block.layers)]

        def begin(state, loop):
            return begin_loop(replace(state, step=steps[0]._replace(loop=loop)), hooks)

        def layers(state, loop):
            own = [step._replace(loop=loop) for step in steps]
            return run_layers(self.encoder, own, hooks, Watch(), state)[0]

        self.run(self.nodes, lambda state: begin(state, 0))
        zero = self.integer(0)
        if trips is None:
            self.run(self.nodes, layers, loop=(zero, 0))
        else:
            iteration, later = self.graph.name(), self.graph.name()
            after = layers(begin(self.state, torch.tensor(1)), torch.tensor(1))
            before, fields = dict(self.names), _changed(self.state, after)
            inside = {field: self.graph.name() for field in fields}
            self.names |= inside
            body, branch, state = [], [], self.state
            self.run(branch, begin, loop=(iteration, 1))
            changed = [field for field in fields if self.names[field] != inside[field]]
            if changed:
                body.append(helper.make_node("Greater", [iteration, zero], [later]))
                then, otherwise = ([names[f] for f in changed] for names in (self.names, inside))
                values = self.graph.either(body, later, (branch, then), otherwise)
                self.names |= dict(zip(changed, values, strict=True))
            self.state = state
            self.run(body, layers, loop=(iteration, 1))
            carried = {inside[field]: (before[field], self.names[field]) for field in fields}
            values = self.graph.loop(self.nodes, trips, iteration, body, carried)
            self.names = before | dict(zip(fields, values, strict=True))
        self.run(self.nodes, lambda state: leave_block(state, hooks))
        self.state = replace(self.state, memory={})

    def run(self, nodes: list[onnx.NodeProto], part: Part, loop: tuple[str, int] | None = None) -> None:
        """Append a part.

        Arguments
        ---------
        nodes : list of onnx.NodeProto
            What to append to.
        part : callable
            From State to State.
        loop : tuple of (str, int), optional
            Name and example of a second argument, the number of the loop.
        """
        given, more = _tensors(self.state), {}
        if loop is not None:
            more = {"loop": torch.tensor(loop[1])}
        with torch.no_grad():
            after = part(self.state, *more.values())
        fields = _changed(self.state, after)
        if not fields:
            self.state = after
            return

        def function(*args):
            state = _with_tensors(self.state, dict(zip(given, args, strict=False)))
            tensors = _tensors(part(state, *args[len(given) :]))
            return tuple(tensors[field] for field in fields)

        traced = trace(self.model, function, given | more, [f"next.{field}" for field in fields])
        names = {field: self.names[field] for field in given}
        if loop is not None:
            names["loop"] = loop[0]
        found = self.graph.add(nodes, traced, names)
        self.state, self.names = after, self.names | dict(zip(fields, found, strict=True))

    def integer(self, value: int) -> str:
        """A constant, int64 []."""
        return self.graph.constant(np.array(value, dtype=np.int64))

    def _front(self, state: State) -> State:
        embed, wavs = (
            self.model.embed,
            without_offset(state.x, self.model.sample_rate) if self.normalized else state.x,
        )
        state = embed(*embed.features(wavs, torch.ones(1)))
        state = replace(state, pad=None, mask=None, extra={}, readout=self.model.readout)
        return self.encoder.adapter.enter(state)

    def _tail(self, state: State) -> State:
        return replace(state, x=self.model.finish(state, self.model.depth(), ["ctc"]).log_probs)


def _tensors(state: State) -> dict[str, torch.Tensor]:
    """The tensors of a state, by names that stand for their fields."""
    memory = {f"memory.{name}": value for name, value in state.memory.items()}
    return {"x": state.x, **({} if state.pos is None else {"pos": state.pos}), **memory}


def _with_tensors(state: State, tensors: Mapping[str, torch.Tensor]) -> State:
    """The state with other tensors in the place of its own."""
    memory = {name: tensors[f"memory.{name}"] for name in state.memory}
    return replace(state, x=tensors["x"], pos=tensors.get("pos"), memory=memory)


def _changed(before: State, after: State) -> list[str]:
    """The tensors of a later state that are not those of an earlier one."""
    known = _tensors(before)
    return [name for name, value in _tensors(after).items() if value is not known.get(name)]
