"""How gradients flow through loops: through all, recomputed, or through the last ones alone."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import Block


@dataclass(frozen=True)
class Backprop:
    """What is kept of a loop for the backward pass.

    Arguments
    ---------
    recompute : bool
        Recompute each loop's activations in the backward pass instead of keeping them.
    grad_loops : int, optional
        Back-propagate through the last so many loops of each block that recurs.

    Raises
    ------
    ValueError
        If ``grad_loops`` is below 1.
    """

    recompute: bool = False
    grad_loops: int | None = None

    def __post_init__(self):
        if self.grad_loops is not None and self.grad_loops < 1:
            raise ValueError(f"grad_loops must be at least 1, got {self.grad_loops}")

    def check(self, block: Block, hooks: list) -> None:
        """Refuse a truncation that leaves the layers below a block without gradient (ValueError)."""
        if self.grad_loops is not None and block.recurs and not any(hook.injects for hook in hooks):
            raise ValueError(
                f"grad_loops = {self.grad_loops} leaves what lies below block '{block.name}' "
                "without gradient: give the block a hook that injects its entry state"
            )

    def check_depth(self, depth: Depth, stops: Collection[tuple[str, int]] = ()) -> None:
        """Refuse a truncation that a training step cannot be made with.

        Arguments
        ---------
        depth : Depth
            Of the step.
        stops : collection of (str, int)
            Its early exits, as block and loop count.

        Raises
        ------
        UserError
            If rows differ in their loop counts, or exits lie before the loops that have a gradient.
        """
        if self.grad_loops is None:
            return
        if depth.rows:
            raise UserError("grad_loops needs one loop count for the whole batch")
        for block, made in depth.schedule.loops.items():
            exits = sorted(loops for name, loops in stops if name == block)
            cut = [str(loops) for loops in exits if loops <= made - self.grad_loops]
            if cut:
                raise UserError(
                    f"grad_loops: {self.grad_loops} of {made} loops leave the exits after loop "
                    f"{', '.join(cut)} without gradient in block '{block}'; all exits get one from "
                    f"grad_loops {made + 1 - exits[0]} on"
                )

    def __call__(self, body: Callable, block: Block, loop: int) -> Callable:
        """Wrap the body of a loop: ``body(state)``, as it is to be called."""
        if self.grad_loops is not None and block.recurs and loop < block.loops - self.grad_loops:
            return torch.no_grad()(body)
        if self.recompute and torch.is_grad_enabled():
            return partial(checkpoint, body, use_reentrant=False)
        return body
