"""Compare integrate-and-fire over whole utterances with a loop over their frames.

    python benchmarks/cif.py

Both get the same frames and weights, scaled to one token per three frames, as in training. The loop
treats all utterances of a batch at once, frame after frame. Forward passes and training steps (forward,
backward, SGD) are timed in interleaved pairs, and the peak memory of a training step is measured in
separate processes.
"""

import argparse
from functools import partial

import torch
from steps import DEVICE, compare

from speechbrain_recursive.nn.firing import integrate_and_fire, scaled


def at_once(x, weights, counts):
    """The states that fire [B, I, d]."""
    return integrate_and_fire(x, weights, counts=counts).states


def by_frame(x, weights, counts):
    """The same by a loop; a frame ends one state at most."""
    weights = weights.to(x.dtype)
    held, state = torch.zeros_like(weights[:, 0]), torch.zeros_like(x[:, 0])
    states, marks = [], []
    for frame, weight in zip(x.unbind(1), weights.unbind(1), strict=True):
        fires = held + weight >= 1 - 1e-4  # sums that round down fire, too
        used = torch.where(fires, 1 - held, weight)
        state = state + used[:, None] * frame
        states.append(state)
        marks.append(fires)
        held = torch.where(fires, weight - used, held + weight)
        state = torch.where(fires[:, None], held[:, None] * frame, state)
    states, marks = torch.stack(states, 1), torch.stack(marks, 1)
    rows = [row[mark][:count] for row, mark, count in zip(states, marks, counts, strict=True)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


class Integration(torch.nn.Module):
    """Weights by a linear layer and a sigmoid, then one of the functions above."""

    def __init__(self, width, fire):
        super().__init__()
        self.linear = torch.nn.Linear(width, 1)
        self.fire = fire

    def forward(self, x, counts):
        weights = self.linear(x).squeeze(-1).sigmoid()
        pad = torch.zeros_like(weights, dtype=torch.bool)
        return (self.fire(x, scaled(weights, pad, counts), counts),)


def encoder(width, kind):
    """Build ``at_once`` or ``by_frame``."""
    torch.manual_seed(0)
    return Integration(width, {"at_once": at_once, "by_frame": by_frame}[kind])


def inputs(width, batch, frames):
    """Make frames [B, T, d] and the counts of their tokens [B]."""
    counts = torch.full((batch,), max(1, frames // 3), device=DEVICE)
    return {"x": torch.randn(batch, frames, width, device=DEVICE), "counts": counts}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    print(
        f"integrate-and-fire on {DEVICE}: width {args.width}, batch {args.batch} x {args.frames} "
        f"frames, {args.pairs} pairs"
    )
    compare(
        partial(encoder, args.width),
        partial(inputs, args.width),
        ("at_once", "by_frame"),
        args.batch,
        args.frames,
        pairs=args.pairs,
        memory=args.memory,
    )


if __name__ == "__main__":
    main()
