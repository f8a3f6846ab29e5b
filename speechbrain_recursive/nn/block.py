"""One block of a schedule: its loops, and the rows that leave it early."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn

from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.schedule import Block, Step
from speechbrain_recursive.nn.state import State


@dataclass(frozen=True)
class Watch:
    """What a run keeps on its way.

    ``taps`` and ``attention`` are step indices; ``stops`` are pairs of a block's name and a loop count,
    after which the state is kept; ``drop`` holds the indices of the steps that layer dropout skips.
    """

    taps: frozenset[int] = frozenset()
    attention: frozenset[int] = frozenset()
    stops: frozenset[tuple[str, int]] = frozenset()
    drop: frozenset[int] = frozenset()


@dataclass
class Trace:
    """What a run returns.

    ``state`` is the last :class:`State`, before the encoder's final norm. ``taps`` holds the states
    after the steps that were asked for, before any ``leave_block``; a row that had left its block
    earlier keeps the state that it left with. ``attention`` holds the weights of those steps for the
    rows that made them, ``stops`` the states after the loops that were asked for, and ``exits`` the last
    state of each early exit.
    """

    state: State
    taps: dict = field(default_factory=dict)
    attention: dict = field(default_factory=dict)
    stops: dict = field(default_factory=dict)
    exits: dict = field(default_factory=dict)


class Rows:
    """The rows of a batch inside a block: those that still loop, and those that wait behind it.

    Arguments
    ---------
    state : State
        On entering the block.
    counts : tuple of int, optional
        Loops of each row; None if all rows make all loops.

    Raises
    ------
    ValueError
        If there are more or fewer counts than rows.

    Attributes
    ----------
    live : State or None
        The rows that still loop.
    """

    def __init__(self, state: State, counts: tuple[int, ...] | None):
        if counts is not None and len(counts) != len(state.x):
            raise ValueError(f"{len(counts)} loop counts for a batch of {len(state.x)}")
        self.live = self._waiting = state
        self._index = None  # of the live rows in the batch; None: all of them
        self._counts = None if counts is None else torch.tensor(counts, device=state.x.device)

    def all(self, live: State | None = None) -> State:
        """All rows, with ``live`` or the present state for those that still loop."""
        live = self.live if live is None else live
        if self.live is None:
            return self._waiting
        return live if self._index is None else self._waiting.scatter(self._index, live)

    def leave(self, hooks: list[Hook], loop: int) -> None:
        """Take out the rows that are done after a loop, by their counts or by a hook."""
        done = None if self._counts is None else self._counts <= loop + 1
        for hook in hooks:
            found = hook.done(self.live)
            if found is not None:
                done = found if done is None else done | found
        if done is None or not bool(done.any()):
            return
        stay = torch.nonzero(~done).squeeze(1)
        self._waiting = self.all()
        self._index = stay if self._index is None else self._index[stay]
        self._counts = None if self._counts is None else self._counts[stay]
        self.live = self.live.select(stay) if len(stay) else None


def run_block(
    encoder: nn.Module, block: Block, steps: list[Step], rows: Rows, watch: Watch, trace: Trace
) -> State:
    """Run all loops of a block and leave it.

    Arguments
    ---------
    encoder : RecursiveEncoder
        Its layers, their adapter, the block's hooks and what is kept for the backward pass.
    block : Block
        With its highest loop count.
    steps : list of Step
        Of all its loops.
    rows : Rows
        The batch on entering the block.
    watch : Watch
        What goes into ``trace``.
    trace : Trace
        Collects it.

    Returns
    -------
    State
        Of all rows, after the hooks' ``leave_block``.
    """
    hooks = encoder.hooks_of(block.name)
    width = len(block.layers)
    for loop in range(block.loops):
        of_loop = steps[loop * width : (loop + 1) * width]
        seen = {}
        if rows.live is not None:
            body = partial(_loop, encoder, of_loop, hooks, watch)
            rows.live, seen, attention = encoder.backprop(body, block, loop)(rows.live)
            trace.attention.update(attention)
        for step in of_loop:
            if step.index in watch.taps:
                trace.taps[step.index] = rows.all(seen.get(step.index))
        if (block.name, loop + 1) in watch.stops:
            trace.stops[block.name, loop + 1] = rows.all()
        if rows.live is not None and loop + 1 < block.loops:
            rows.leave(hooks, loop)
    return leave_block(rows.all(), hooks)


def leave_block(state: State, hooks: list[Hook]) -> State:
    """Apply the hooks of a block on leaving it."""
    for hook in hooks:
        state = hook.leave_block(state)
    return state


def begin_loop(state: State, hooks: list[Hook]) -> State:
    """Apply the hooks of a block before a loop, whose first step is ``state.step``."""
    for hook in hooks:
        state = hook.before_loop(state)
    return state


def run_layers(
    encoder: nn.Module, steps: Iterable[Step], hooks: list[Hook], watch: Watch, state: State
) -> tuple[State, dict, dict]:
    """Run one pass through a block's layers.

    Arguments
    ---------
    encoder : RecursiveEncoder
        Its layers and their adapter.
    steps : iterable of Step
        Of the loop.
    hooks : list of Hook
        Those of the block act around each step.
    watch : Watch
        What is kept, and which steps are dropped.
    state : State
        The input of the loop, after :func:`begin_loop`.

    Returns
    -------
    State
        After the last step.
    dict, dict
        Taps and attention weights, by index of the step.
    """
    call = encoder.adapter.call
    for hook in hooks:
        call = partial(_around, hook, call)
    taps, attention = {}, {}
    for step in steps:
        if step.index not in watch.drop:
            state = replace(state, step=step)
            x, weights = call(state, encoder.layers[step.layer])
            state = replace(state, x=x)
            if step.index in watch.attention:
                attention[step.index] = weights
        if step.index in watch.taps:
            taps[step.index] = state
    return state, taps, attention


def _loop(encoder, steps, hooks, watch, state) -> tuple[State, dict, dict]:
    """Run one loop; return the state, its taps and attention weights."""
    state = begin_loop(replace(state, step=steps[0]), hooks)
    return run_layers(encoder, steps, hooks, watch, state)


def _around(hook, call, state, layer):
    return hook.around_step(state, layer, call)
