"""How gradients flow through loops: through all, recomputed, or through the last ones alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

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

    def check_depth(self, depth: Depth) -> None:
        """Refuse a truncation under loop counts per row (ValueError)."""
        if depth.rows and self.grad_loops is not None:
            raise ValueError("grad_loops needs one loop count for the whole batch")

    def __call__(self, body: Callable, block: Block, loop: int) -> Callable:
        """Wrap the body of a loop: ``body(state)``, as it is to be called."""
        if self.grad_loops is not None and block.recurs and loop < block.loops - self.grad_loops:
            return torch.no_grad()(body)
        if self.recompute and torch.is_grad_enabled():
            return partial(checkpoint, body, use_reentrant=False)
        return body
