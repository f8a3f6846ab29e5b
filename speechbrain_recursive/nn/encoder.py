"""One encoder for every method: a bank of physical layers, and a schedule of when each runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.nn.adapters import adapter_for
from speechbrain_recursive.nn.backprop import Backprop
from speechbrain_recursive.nn.block import Rows, Trace, Watch, leave_block, run_block
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.layer_dropout import LayerDropout, Numbers
from speechbrain_recursive.nn.schedule import Schedule
from speechbrain_recursive.nn.state import State
from speechbrain_recursive.nn.streaming import Streaming


class RecursiveEncoder(Streaming, nn.Module):
    """A stock encoder whose layers run as a schedule says.

    It takes over the stock encoder's ``layers`` and ``norm``, so that state-dict keys are the stock ones
    and stock checkpoints load. Under ``standard(n)`` it computes what the stock encoder computes, to the
    bit.

    Arguments
    ---------
    encoder : torch.nn.Module
        A SpeechBrain ``TransformerEncoder``, ``ConformerEncoder`` or ``BranchformerEncoder``, or our
        ``RopeEncoder``, of ``schedule.n_layers`` layers.
    schedule : Schedule
        Which layer runs at each logical step.
    hooks : mapping of str to sequence of Hook, optional
        What acts on the blocks of that name; under ``"*"`` on every block.
    recompute : bool
        Recompute each loop's activations in the backward pass instead of keeping them.
    grad_loops : int, optional
        Back-propagate through the last so many loops of each recurrent block.
    layer_dropout : LayerDropout, optional
        Which steps training skips; by default, each run skips each step with the stock encoder's
        ``layerdrop_prob``.

    Raises
    ------
    ValueError
        If the encoder has another number of layers than the schedule names, hooks are given for a
        block that does not exist, or ``grad_loops`` would leave what lies below a recurrent block
        without gradient because no hook injects an earlier state.

    Example
    -------
    >>> from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
    >>> from speechbrain_recursive.nn.schedule import latent
    >>> stock = TransformerEncoder(3, nhead=2, d_ffn=16, d_model=8)
    >>> encoder = RecursiveEncoder(stock, latent(n_recurrent=1, loops=4, n_prelude=1, n_coda=1))
    >>> output, attention = encoder(torch.rand(2, 10, 8), loops=2)
    >>> output.shape, len(attention)
    (torch.Size([2, 10, 8]), 4)
    """

    def __init__(
        self,
        encoder: nn.Module,
        schedule: Schedule,
        hooks: Mapping[str, Sequence[Hook]] | None = None,
        recompute: bool = False,
        grad_loops: int | None = None,
        layer_dropout: LayerDropout | None = None,
    ):
        super().__init__()
        n, there = schedule.n_layers, len(encoder.layers)
        if n != there:
            raise ValueError(f"the schedule {schedule} names {n} layers, the encoder has {there}")
        self.layers = encoder.layers
        self.norm = encoder.norm
        stock = LayerDropout(encoder.layerdrop_prob, rising=False, shared=False)
        self.layer_dropout = layer_dropout or stock
        self.output_hidden_states = encoder.output_hidden_states
        self.adapter = adapter_for(encoder)
        for layer in self.layers:
            self.adapter.guard(layer)
        self.schedule = schedule
        self.hooks = nn.ModuleDict()
        for name, some in (hooks or {}).items():
            for hook in some:
                self.add_hook(name, hook)
        self.backprop = Backprop(recompute, grad_loops)
        for block in schedule.blocks:
            self.backprop.check(block, self.hooks_of(block.name))

    def add_hook(self, block: str, hook: Hook, first: bool = False) -> None:
        """Attach a hook to a block, or to every block under ``"*"``.

        Arguments
        ---------
        block : str
            The block's name.
        hook : Hook
            Runs after the hooks that are there, or before them.
        first : bool
            Whether it runs before them.

        Raises
        ------
        ValueError
            If the schedule has no such block.
        """
        blocks = [each for each in self.schedule.blocks if block in ("*", each.name)]
        if not blocks:
            raise ValueError(f"hooks for block '{block}', which the schedule {self.schedule} lacks")
        hook.attach({index: self.layers[index] for each in blocks for index in each.layers})
        there = dict(self.hooks).get(block, ())
        self.hooks[block] = nn.ModuleList([hook, *there] if first else [*there, hook])

    def forward(
        self,
        src: torch.Tensor,
        src_mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None,
        pos_embs: torch.Tensor | None = None,
        dynchunktrain_config: Any = None,
        loops: Any = None,
    ) -> tuple:
        """The stock encoder's forward, at any depth.

        Arguments
        ---------
        src : torch.Tensor
            [B, T, d].
        src_mask : torch.Tensor, optional
            [T, T], True where attention is forbidden.
        src_key_padding_mask : torch.BoolTensor, optional
            [B, T], True on padding.
        pos_embs : torch.Tensor, optional
            Positional embeddings as the stock encoder takes them.
        dynchunktrain_config : DynChunkTrainConfig, optional
            Dynamic chunk training.
        loops : optional
            A request for a depth, see :meth:`Depth.of`.

        Returns
        -------
        torch.Tensor
            [B, T, d], after the final norm.
        list
            Attention weights of each step. Empty under ``recompute``, which keeps none.
        list
            Hidden states [B, T, d] from the input on, if the stock encoder returns them.
        """
        extra = {} if dynchunktrain_config is None else {"dynchunktrain_config": dynchunktrain_config}
        state = State(src, pad=src_key_padding_mask, mask=src_mask, pos=pos_embs, extra=extra)
        depth = Depth.of(self.schedule, loops)
        observed = self.output_hidden_states or not self.backprop.recompute
        steps = range(len(depth)) if observed else ()
        taps = steps if self.output_hidden_states else ()
        trace = self.run(state, depth, taps=taps, attention=steps)
        output = self.norm(trace.state.x), list(trace.attention.values())
        if self.output_hidden_states:
            output += ([src] + [trace.taps[index].x for index in trace.attention],)
        return output

    def run(
        self,
        state: State,
        depth: Depth | None = None,
        taps: Iterable[int] = (),
        exits: Iterable[Depth] = (),
        attention: Iterable[int] = (),
        numbers: Numbers | None = None,
    ) -> Trace:
        """Run a depth on a state.

        Arguments
        ---------
        state : State
            Embedded frames.
        depth : Depth, optional
            The encoder's own schedule by default. A row leaves its block after its own count and
            rejoins the others behind the block.
        taps : iterable of int
            Indices of steps to keep the states of.
        exits : iterable of Depth
            Depths that stop earlier in one block, see :meth:`Depth.stop`. Each shares the run up to
            there and then leaves the block and runs the rest, as a run of that depth would.
        attention : iterable of int
            Indices of steps to keep the attention weights of.
        numbers : dict, optional
            What other runs of this forward pass have drawn for layer dropout; exits share their run's.

        Returns
        -------
        Trace

        Raises
        ------
        ValueError
            If the schedule names a layer that the encoder lacks, or a depth is not an exit of this run.
        UserError
            In training, where :meth:`check_training` raises it.
        """
        depth = Depth(self.schedule) if depth is None else depth
        last = len(self.layers) - 1
        for block in depth.schedule.blocks:
            if (top := max(block.layers)) > last:
                raise ValueError(f"block '{block.name}' names layer {top}; the encoder's last is {last}")
        exits = list(exits)
        if self.training:
            self.check_training(depth, exits)
        stops = {exit: depth.exit(exit) for exit in exits if exit != depth}
        numbers = {} if numbers is None else numbers
        drop = self.layer_dropout.skipped(depth.schedule, numbers) if self.training else frozenset()
        watch = Watch(frozenset(taps), frozenset(attention), frozenset(stops.values()), drop)
        trace = self.run_blocks(self.adapter.enter(state), depth, watch)
        for exit in exits:
            trace.exits[exit] = trace.state
            if exit in stops:
                name, loops = stops[exit]
                left = leave_block(trace.stops[name, loops], self.hooks_of(name))
                skipped = len(depth) - len(exit)
                watch = Watch(drop=frozenset(index - skipped for index in drop))
                trace.exits[exit] = self.run_blocks(left, exit, watch, after=name).state
        return trace

    def check_training(self, depth: Depth, exits: Iterable[Depth] = ()) -> None:
        """Refuse a step that ``grad_loops`` leaves exits of without gradient.

        Arguments
        ---------
        depth : Depth
            Of the step.
        exits : iterable of Depth
            Its early exits.

        Raises
        ------
        UserError
            If there are such exits, or ``grad_loops`` is set and rows differ in their loop counts.
        """
        self.backprop.check_depth(depth, [depth.exit(exit) for exit in exits if exit != depth])

    def run_blocks(
        self, state: State, depth: Depth, watch: Watch | None = None, after: str | None = None
    ) -> Trace:
        """Run the blocks of a depth, or those behind a block, on a state that the adapter has prepared.

        Arguments
        ---------
        state : State
            Of the embedded frames, or of those that leave block ``after``.
        depth : Depth
            What runs.
        watch : Watch, optional
            What is kept; nothing by default.
        after : str, optional
            Name of a block that has been left already, with all blocks before it.

        Returns
        -------
        Trace
        """
        watch, trace, steps = watch or Watch(), Trace(state), list(depth.schedule)
        running = after is None
        for block in depth.schedule.blocks:
            of_block, steps = steps[: len(block)], steps[len(block) :]
            if running:
                rows = Rows(trace.state, depth.by_row(block.name))
                trace.state = run_block(self, block, of_block, rows, watch, trace)
            running = running or block.name == after
        return trace

    def compile_layers(self) -> None:
        """Compile each layer (``torch.compile``) when it first runs.

        Layers of one shape share the result, at all loops, batch sizes and lengths. State-dict keys
        stay as they are.

        Raises
        ------
        UserError
            If this kind of layer cannot be compiled.
        """
        for layer in self.layers:
            self.adapter.compile(layer)

    def hooks_of(self, block: str) -> list[Hook]:
        """What acts on a block, in order."""
        return [hook for name in ("*", block) if name in self.hooks for hook in self.hooks[name]]

    @property
    def stride(self) -> int:
        """Embedded frames per frame of the output: the strides of all hooks, multiplied."""
        blocks = self.schedule.blocks
        return math.prod(hook.stride for block in blocks for hook in self.hooks_of(block.name))
