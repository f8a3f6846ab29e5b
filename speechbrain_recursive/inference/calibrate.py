"""Adaptive exit for a trained ASR model: thresholds that save most loops within an allowed loss."""

import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from speechbrain_recursive.analysis.wer import ErrorRate
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.inference.adaptive import RESULT, attach
from speechbrain_recursive.inference.results import asked, depth_for, open_results
from speechbrain_recursive.inference.score import error_of
from speechbrain_recursive.nn.halting import Halting
from speechbrain_recursive.nn.schedule import Schedule


def calibrate(
    folder: str | Path,
    criterion: str = "kl",
    allowed: float = 0.5,
    split: str | None = None,
    loops: int | None = None,
    device: str = "cpu",
    depth: int | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Choose the thresholds of :func:`attach` on a dev set and write them to ``calibration.json``.

    The set is decoded at each loop count of a block, and every utterance's criterion is measured after
    each loop, or at each exit that the objective supervises. No utterance depends on the others in its
    batch, so these measurements determine the result of any threshold. If several blocks recur, their
    thresholds are chosen in the order in which the blocks run, each behind the exits of the blocks
    before it, and the allowed rise is split evenly between the blocks.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.
    criterion : str
        ``cosine``, ``kl`` or ``entropy``.
    allowed : float
        How much the greedy WER may rise, in percentage points.
    split : str, optional
        The set to choose on; the first dev set by default.
    loops : int, optional
        The full depth; the one trained for by default.
    device : str
        Where the model runs.
    depth : int, optional
        The full depth as a logical depth, in place of a loop count.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    dict
        ``criterion`` and ``split``; ``blocks``, with the ``loops`` at full depth, ``every``,
        ``threshold`` and ``average`` loops of each; and ``full``, ``adaptive`` and ``fixed``, each with
        its ``wer`` and its average ``loops``, or, if several blocks recur, its average logical
        ``depth``. ``fixed`` mixes the fixed counts ``below`` and ``above`` the adaptive average, so that
        its average is the same.

    Raises
    ------
    UserError
        If :func:`~speechbrain_recursive.inference.results.open_results` raises it, no block of the model
        recurs, there is no such depth, or the model cannot make so many loops.
    """
    folder = Path(folder)
    model, tokenizer, hparams = open_results(folder, device, trust)
    split = split or hparams["corpus"].dev_splits[0]
    every = _intervals(model, hparams)
    meters = {name: _Meter(criterion, every=interval) for name, interval in every.items()}
    attach(model, meters)
    full = depth_for(model, loops, depth, folder).schedule
    if not full.loops:
        raise UserError(f"adaptive exit needs a block that recurs; {full} has none")
    counts = {name: [*range(every[name], most, every[name]), most] for name, most in full.loops.items()}
    steps = sorted({count for each in counts.values() for count in each})
    evenly = [{name: min(step, most) for name, most in full.loops.items()} for step in steps]
    rates = partial(error_of, model, tokenizer, hparams, [folder / "manifests" / f"{split}.csv"])
    decode = _Decoding(model, rates, meters)
    try:
        fixed = [(_amount(full, each), decode(each).rate.wer) for each in evenly]
        average, wer = dict(full.loops), fixed[-1][1]
        for done, (name, meter) in enumerate(meters.items(), start=1):
            runs = [decode({**full.loops, name: count}) for count in counts[name]]
            limit = fixed[-1][1] + allowed * done / len(meters)
            meter.threshold, average[name], wer = _choose(name, runs, counts[name], limit)
    except ValueError as error:
        raise UserError(f"{asked(loops, depth)}: {error}") from error
    unit = "loops" if len(meters) == 1 else "depth"
    adaptive = _amount(full, average)
    below = max(point for point in fixed if point[0] <= adaptive)
    above = min((point for point in fixed if point[0] > below[0]), default=below)
    share = (adaptive - below[0]) / max(1, above[0] - below[0])
    mixed = below[1] + share * (above[1] - below[1])

    def at(amount, wer):
        return {unit: amount, "wer": wer}

    found = {
        "criterion": criterion,
        "split": split,
        "blocks": {
            name: {
                "loops": full.loops[name],
                "every": meter.every,
                "threshold": meter.threshold,
                "average": average[name],
            }
            for name, meter in meters.items()
        },
        "full": at(*fixed[-1]),
        "adaptive": at(adaptive, wer),
        "fixed": {**at(adaptive, mixed), "below": at(*below), "above": at(*above)},
    }
    write_whole(folder / RESULT, json.dumps(found, indent=1))
    return found


def as_text(found: dict[str, Any]) -> str:
    """The outcome of :func:`calibrate` as a Markdown table."""
    full, adaptive, fixed = found["full"], found["adaptive"], found["fixed"]
    unit = "loops" if "loops" in full else "depth"
    saved = 100 * (1 - adaptive[unit] / full[unit])
    rows = [
        ("full depth", full),
        ("adaptive", adaptive),
        ("fixed, mixed to the same average", fixed),
        ("fixed", fixed["below"]),
        ("fixed", fixed["above"]),
    ]
    what = "loops" if unit == "loops" else "layer applications"
    lines = [f"{found['split']}, criterion {found['criterion']}: {saved:.0f}% of the {what} saved"]
    for name, block in found["blocks"].items():
        average = f"{block['average']:.4g} of {block['loops']} loops"
        lines.append(f"{name}: threshold {block['threshold']:.3g}, {average} on average")
    lines += ["", f"| exit | {what} on average | WER % |", "|---|---|---|"]
    lines += [f"| {name} | {row[unit]:.4g} | {row['wer']:.2f} |" for name, row in rows]
    return "\n".join(lines)


class _Meter(Halting):
    """Records the criterion [B] at every exit, besides ending rows."""

    def __init__(self, criterion, every):
        super().__init__(criterion, every=every)
        self.values = {}

    def done(self, state):
        if (state.step.loop + 1) % self.every == 0:
            self.values.setdefault(state.step.loop + 1, []).append(self.measure(state).cpu())
        return super().done(state)


class _Run(NamedTuple):
    """What one depth gives: its error rate, and by block and loop count the criteria [N]."""

    rate: ErrorRate
    values: dict[str, dict[int, torch.Tensor]]


class _Decoding:
    """Greedy decoding of a set at any loop counts by block, once each while thresholds stay the same."""

    def __init__(self, model, rates, meters):
        self.model, self.rates, self.meters = model, rates, meters
        self.found = {}

    def __call__(self, loops: dict[str, int]) -> _Run:
        thresholds = (meter.threshold for meter in self.meters.values())
        key = (*loops.items(), *thresholds)
        if key not in self.found:
            self.found[key] = self._run(self.model.depth(loops))
        return self.found[key]

    def _run(self, depth):
        for meter in self.meters.values():
            meter.values.clear()
        rate = self.rates([depth])[depth]
        values = {
            name: {count: torch.cat(parts) for count, parts in meter.values.items()}
            for name, meter in self.meters.items()
        }
        return _Run(rate, values)


def _intervals(model, hparams):
    """By block that recurs, the loops between two exits: those that the objective supervises, or 1."""
    hparams["objective"].start_epoch(hparams["epoch_counter"].limit)  # what training ended with
    exits = hparams["objective"].needs(model.depth()).exits
    return {
        name: min((exit.schedule.loops[name] for exit in exits), default=1)
        for name in model.schedule.loops
    }


def _amount(full: Schedule, loops: dict[str, float]) -> float:
    """Average loops where one block recurs, else the average logical depth."""
    if len(loops) == 1:
        return float(*loops.values())
    left_out = (len(b.layers) * (b.loops - loops[b.name]) for b in full.blocks if b.recurs)
    return len(full) - sum(left_out)


def _choose(name, runs, counts, limit):
    """The threshold of a block that saves most loops, the average loops and the error rate under it."""
    errors = torch.tensor([run.rate.errors for run in runs])
    counts, words = torch.tensor(counts), sum(runs[-1].rate.lengths)
    values = [runs[-1].values[name][count] for count in counts[:-1].tolist()]
    best = 0.0, float(counts[-1]), runs[-1].rate.wer
    for threshold in _thresholds(values):
        exits = _exits(values, threshold)
        wer = 100 * float(errors.gather(0, exits[None]).sum()) / words
        average = float(counts[exits].float().mean())
        if wer <= limit and average < best[1]:
            best = threshold, average, wer
    return best


def _thresholds(values):
    """Midpoints between any two criteria that occur, and one value above them all."""
    if not values:
        return []
    found = torch.cat(values).unique()
    return [*((found[1:] + found[:-1]) / 2).tolist(), 2 * float(found[-1])]


def _exits(values, threshold):
    """Index of each utterance's exit [N], from criteria [N] by exit except the last."""
    done = torch.stack(values) < threshold
    last = torch.ones_like(done[:1])
    return torch.cat([done, last]).int().argmax(0)
