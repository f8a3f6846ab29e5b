"""One encoder for every method: a bank of physical layers, and a schedule that says when each runs."""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from speechbrain_recursive.nn.adapters import adapter_for
from speechbrain_recursive.nn.schedule import Schedule


class Trace(NamedTuple):
    """What a run gives back.

    ``state``: the last :class:`~speechbrain_recursive.nn.state.State`, before the encoder's final
    norm. ``attention`` and ``taps``: attention weights and hidden states [B, T, d] by step index, for
    the steps that were asked for; a step that layer dropout skipped has no attention.
    """

    state: object
    attention: dict
    taps: dict


@dataclass
class StreamingContext:
    """Left contexts of a streaming run: one for each logical step, and the schedule they are for."""

    dynchunktrain_config: object
    schedule: Schedule
    layers: list


class RecursiveEncoder(nn.Module):
    """A stock encoder whose layers run as a schedule says.

    Takes over the stock encoder's ``layers`` and ``norm``, so that state-dict keys are the stock ones
    and stock checkpoints load. Under ``standard(n)`` it computes what the stock encoder computes.

    Arguments
    ---------
    encoder : torch.nn.Module
        A SpeechBrain ``TransformerEncoder``, ``ConformerEncoder`` or ``BranchformerEncoder`` of
        ``schedule.n_layers`` layers.
    schedule : Schedule
        Which layer runs at each logical step.
    hooks : dict of str to list of Hook, optional
        What acts on the blocks of that name; under ``"*"`` on every block.
    recompute : bool
        Recompute each loop's activations in the backward pass instead of keeping them.
    grad_loops : int, optional
        Back-propagate through the last so many loops of each recurrent block alone.

    Raises
    ------
    ValueError
        If the encoder has another number of layers than the schedule names, hooks are given for a
        block that does not exist, or ``grad_loops`` would leave what lies below the first recurrent
        block without gradient, since no hook there injects an earlier state.

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

    def __init__(self, encoder, schedule, hooks=None, recompute=False, grad_loops=None):
        super().__init__()
        if len(encoder.layers) != schedule.n_layers:
            raise ValueError(
                f"the schedule {schedule} names {schedule.n_layers} layers, "
                f"the encoder has {len(encoder.layers)}"
            )
        names = {block.name for block in schedule.blocks} | {"*"}
        for name in hooks or {}:
            if name not in names:
                raise ValueError(f"hooks for block '{name}', which the schedule {schedule} lacks")
        self.layers = encoder.layers
        self.norm = encoder.norm
        self.layerdrop_prob = encoder.layerdrop_prob
        self.output_hidden_states = encoder.output_hidden_states
        self.family = adapter_for(encoder)
        for layer in self.layers:
            self.family.guard(layer)
        self.schedule = schedule
        self.hooks = nn.ModuleDict({name: nn.ModuleList(some) for name, some in (hooks or {}).items()})
        for name, some in self.hooks.items():
            blocks = [block for block in schedule.blocks if name in ("*", block.name)]
            for hook in some:
                hook.attach({i: self.layers[i] for block in blocks for i in block.layers})
        self.recompute = recompute
        self.grad_loops = grad_loops
        if grad_loops is not None:
            self._check_grad_loops()

    def forward(
        self,
        src,
        src_mask=None,
        src_key_padding_mask=None,
        pos_embs=None,
        dynchunktrain_config=None,
        loops=None,
    ):
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
        loops : int, dict or torch.LongTensor, optional
            See :meth:`run`.

        Returns
        -------
        torch.Tensor
            [B, T, d], after the final norm.
        list
            Attention weights of each step; empty where ``recompute`` is on, since keeping them is
            what it saves.
        list
            Hidden states [B, T, d] from the input on, if the stock encoder gives them.
        """
        state = self.family.prepare(
            src,
            src_mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            pos_embs=pos_embs,
            dynchunktrain_config=dynchunktrain_config,
        )
        observed = self.output_hidden_states or not self.recompute
        steps = range(len(self.at(loops)[0])) if observed else ()
        taps = steps if self.output_hidden_states else ()
        trace = self.run(state, loops=loops, taps=taps, attention=steps)
        output = self.norm(trace.state.x), list(trace.attention.values())
        if self.output_hidden_states:
            output += ([src] + [trace.taps[index] for index in trace.attention],)
        return output

    def run(self, state, schedule=None, loops=None, taps=(), attention=()):
        """Run the schedule on a state.

        Arguments
        ---------
        state : State
            As the family's ``prepare`` gives it.
        schedule : Schedule, optional
            Another schedule over the same layers.
        loops : int, dict of str to (int or torch.LongTensor), or torch.LongTensor, optional
            Loop counts: of all blocks that recur, by block, or for each row [B]. A row leaves its
            block after its own count and rejoins the others behind the block.
        taps : iterable of int
            Indices of steps to keep hidden states of, taken before any hook acts. A row that had left
            its block before a step keeps the state that it left with.
        attention : iterable of int
            Indices of steps to keep attention weights of, for the rows that were there.

        Returns
        -------
        Trace

        Raises
        ------
        ValueError
            If the schedule names a layer that the encoder lacks, or a loop count is below 1.
        """
        schedule, counts = self.at(loops, schedule)
        for block in schedule.blocks:
            if max(block.layers) >= len(self.layers):
                raise ValueError(
                    f"block '{block.name}' names layer {max(block.layers)}; "
                    f"the encoder's last is {len(self.layers) - 1}"
                )
        trace = Trace(state, {}, {})
        keep, wanted = self._draw(schedule), (set(taps), set(attention))
        steps = iter(schedule)
        for block in schedule.blocks:
            passes = [[next(steps) for _ in block.layers] for _ in range(block.loops)]
            state = self._run_block(block, passes, counts.get(block.name), keep, wanted, trace)
            trace = trace._replace(state=state)
        return trace

    def at(self, loops=None, schedule=None):
        """The schedule at given loop counts.

        Arguments
        ---------
        loops : int, dict or torch.LongTensor, optional
            See :meth:`run`.
        schedule : Schedule, optional
            The encoder's own by default.

        Returns
        -------
        Schedule
            With the highest count of each block.
        dict
            Counts of each row (LongTensor [B]) by block, where rows differ.
        """
        schedule = self.schedule if schedule is None else schedule  # an empty one is falsy
        if loops is None or isinstance(loops, int):
            return schedule.with_loops(loops), {}
        counts = loops if isinstance(loops, dict) else dict.fromkeys(schedule.loops, loops)
        by_row = {name: count for name, count in counts.items() if torch.is_tensor(count)}
        for name, count in by_row.items():
            if int(count.min()) < 1:
                raise ValueError(f"block '{name}': loops must be at least 1, got {int(count.min())}")
        if by_row and self.grad_loops is not None and self.training:
            raise ValueError("grad_loops needs one loop count for the whole batch")
        most = {name: int(n.max()) if name in by_row else n for name, n in counts.items()}
        return schedule.with_loops(**most), by_row

    def leave(self, state, name, loops=None):
        """Finish a run from the state with which a block is left, as if it had just made its last loop.

        Arguments
        ---------
        state : State
            With the block's output for ``x``; what its hooks keep in memory is not at hand.
        name : str
            The block.
        loops : int, dict or torch.LongTensor, optional
            Of the whole run, see :meth:`run`.

        Returns
        -------
        State
        """
        schedule, counts = self.at(loops)
        for hook in self._hooks_of(name):
            state = hook.leave_block(state)
        rest = schedule.after(name)
        counts = {block: count for block, count in counts.items() if block in rest.loops}
        return self.run(state, rest, counts).state

    def compile_layers(self):
        """Compile each layer (``torch.compile``) when it first runs.

        Layers of one shape share the result, at all loops, batch sizes and lengths. State-dict keys stay
        as they are.

        Raises
        ------
        ValueError
            If the family's layers cannot be compiled.
        """
        for layer in self.layers:
            self.family.compile(layer)

    def make_streaming_context(self, dynchunktrain_config, loops=None):
        """Blank left contexts for streaming, one for each logical step.

        Arguments
        ---------
        dynchunktrain_config : DynChunkTrainConfig
            Sizes of chunk and left context.
        loops : int or dict of str to int, optional
            Loop counts of the run.

        Returns
        -------
        StreamingContext
        """
        schedule, _ = self.at(loops)
        size = dynchunktrain_config.left_context_size_frames()
        contexts = [self.layers[step.layer].make_streaming_context(size) for step in schedule]
        return StreamingContext(dynchunktrain_config, schedule, contexts)

    def forward_streaming(self, src, context, pos_embs=None):
        """Encode one chunk.

        Arguments
        ---------
        src : torch.Tensor
            [B, chunk, d].
        context : StreamingContext
            Changed in place.
        pos_embs : torch.Tensor, optional
            Relative positions that cover the chunk and its left context.

        Returns
        -------
        torch.Tensor
            [B, chunk, d].
        list
            Empty: attention weights are not kept.
        """
        state = self.family.prepare(src, pos_embs=pos_embs)
        state = replace(state, extra={"contexts": context.layers})
        return self.norm(self.run(state, context.schedule).state.x), []

    def _run_block(self, block, passes, counts, keep, wanted, trace):
        """All loops of a block. Rows that are done step out; the rest goes on."""
        hooks = self._hooks_of(block.name)
        whole = replace(trace.state, loops=block.loops if counts is None else counts)
        live, rows = whole, None
        for loop, steps in enumerate(passes):
            if live is None:
                trace.taps.update((step.index, whole.x) for step in steps if step.index in wanted[0])
                continue
            body = partial(self._one_loop, hooks, steps, keep, wanted)
            live, taps, attention = self._pass(block, loop)(body, live)
            trace.attention.update(attention)
            for index, x in taps.items():
                trace.taps[index] = x if rows is None else whole.put(rows, replace(live, x=x)).x
            done = self._done(live, hooks, loop)
            last = loop + 1 == len(passes)
            if last or (done is not None and bool(done.any())):
                whole = live if rows is None else whole.put(rows, live)
            if not last and done is not None and bool(done.any()):
                going = torch.nonzero(~done).squeeze(1)
                rows = going if rows is None else rows[going]
                live = live.rows(going) if len(going) else None
        for hook in hooks:
            whole = hook.leave_block(whole)
        return whole

    def _pass(self, block, loop):
        """How a loop's body is called: without gradient, recomputed, or plainly."""
        if self.grad_loops is not None and block.recurs and loop < block.loops - self.grad_loops:
            return torch.no_grad()(_call)
        if self.recompute and torch.is_grad_enabled():
            return partial(checkpoint, use_reentrant=False)
        return _call

    def _one_loop(self, hooks, steps, keep, wanted, state):
        """One pass through a block's layers; returns the state, and what is wanted of its steps."""
        state = replace(state, step=steps[0])
        for hook in hooks:
            state = hook.before_loop(state)
        call = self.family.call
        for hook in hooks:
            call = partial(_around, hook, call)
        taps, attention = {}, {}
        for step in steps:
            if step.index in keep:
                state = replace(state, step=step)
                x, weights = call(state, self.layers[step.layer])
                state = replace(state, x=x)
                if step.index in wanted[1]:
                    attention[step.index] = weights
            if step.index in wanted[0]:
                taps[step.index] = state.x
        return state, taps, attention

    def _done(self, state, hooks, loop):
        """Which of the rows in a block have finished, by their own counts or by a hook's word."""
        done = state.loops <= loop + 1 if torch.is_tensor(state.loops) else None
        for hook in hooks:
            said = hook.done(state)
            if said is not None:
                done = said if done is None else done | said
        return done

    def _hooks_of(self, block):
        return [hook for name in ("*", block) if name in self.hooks for hook in self.hooks[name]]

    def _draw(self, schedule):
        """Indices of the steps that layer dropout keeps, drawn once for the whole run."""
        if not self.training or self.layerdrop_prob == 0.0:
            return range(len(schedule))
        draw = torch.rand(len(schedule)) > self.layerdrop_prob
        return set(torch.nonzero(draw).flatten().tolist())

    def _check_grad_loops(self):
        if self.grad_loops < 1:
            raise ValueError(f"grad_loops must be at least 1, got {self.grad_loops}")
        for block in self.schedule.blocks:
            if block.recurs and not any(hook.injects for hook in self._hooks_of(block.name)):
                raise ValueError(
                    f"grad_loops = {self.grad_loops} leaves what lies below block '{block.name}' "
                    "without gradient: give the block a hook that injects its entry state"
                )


def _call(body, state):
    return body(state)


def _around(hook, call, state, layer):
    return hook.around_step(state, layer, call)
