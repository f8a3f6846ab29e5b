"""Hooks of the recursion: before a loop, around a step, on leaving a block, and to end rows early."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from speechbrain_recursive.nn.state import State

Call = Callable[[State, nn.Module], tuple[torch.Tensor, torch.Tensor | None]]


class Hook(nn.Module):
    """Base class of what acts on a block; every method does nothing until it is overridden.

    Hooks are pure: they store nothing on ``self`` between calls, and keep what they need in the state's
    memory. A newly constructed hook leaves the encoder's output unchanged, so it can be attached to a
    trained encoder.

    ``injects`` is True if every loop reads a state from before the block, so that gradients reach the
    layers below even if only the last loops are back-propagated. ``stride`` is the number of frames that
    become one in ``leave_block``. ``most_loops`` is the number of loops beyond which the hook raises an
    error, if there is one.
    """

    injects = False
    stride = 1
    most_loops: int | None = None

    def attach(self, layers: Mapping[int, nn.Module]) -> None:
        """Build what depends on the block's layers, once, when an encoder takes the hook.

        Arguments
        ---------
        layers : mapping of int to torch.nn.Module
            The block's physical layers by index.
        """

    def start_from(self, layers: Mapping[int, Sequence[Mapping[str, torch.Tensor]]]) -> None:
        """Start from the weights of a model that shares no layers; called once before training.

        Arguments
        ---------
        layers : mapping of int to sequence of dict
            For each layer of the block, by index, the weights of the layers of the other model that it
            was made of, by name. The layer itself holds their mean.
        """

    def before_loop(self, state: State) -> State:
        """Turn the state into the input of a loop.

        ``state.step.loop`` is 0 on entering the block; later ``state.x`` is the output of the previous
        loop. It does not run after the last loop.
        """
        return state

    def around_step(self, state: State, layer: nn.Module, call: Call) -> tuple:
        """Run one layer: ``call(state, layer)`` returns x [B, T, d] and the attention weights."""
        return call(state, layer)

    def leave_block(self, state: State) -> State:
        """Change the state once all rows have left the block."""
        return state

    def done(self, state: State) -> torch.Tensor | None:
        """Rows that need no further loop, as a BoolTensor [B], or None if no row is to end early."""
        return None


def up_to(loop: int | torch.Tensor, last: int) -> int | torch.Tensor:
    """The number of a loop, or of the last one that has weights of its own.

    A LongTensor [] stands for the loop where a graph is traced for all loops at once.
    """
    return loop.clamp(max=last) if isinstance(loop, torch.Tensor) else min(loop, last)
