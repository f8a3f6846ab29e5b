"""Adaptive exit for a trained ASR model: the threshold that saves most loops within an allowed loss."""

import json
from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.dataset import eval_loader, make_dataset
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole
from speechbrain_recursive.inference.results import depth_for, open_results
from speechbrain_recursive.nn.halting import Halting
from speechbrain_recursive.nn.model import ASRModel

RESULT = "calibration.json"


def attach(model: ASRModel, halting: Halting) -> None:
    """Let the recurrent block of an ASR model end rows early, before the block's other hooks run.

    Arguments
    ---------
    model : ASRModel
        With one block that recurs.
    halting : Halting
        Criterion and threshold.

    Raises
    ------
    UserError
        If not exactly one block recurs.
    """
    names = list(model.schedule.loops)
    if len(names) != 1:
        raise UserError(f"adaptive exit needs one block that recurs; {model.schedule} has {len(names)}")
    model.encoder.add_hook(names[0], halting.train(model.training), first=True)


def calibrated(folder: str | Path) -> tuple[Halting, int]:
    """Load the exit that :func:`calibrate` chose for a results folder.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.

    Returns
    -------
    Halting
        Criterion and threshold.
    int
        The full depth in loops, which the threshold was chosen for.

    Raises
    ------
    UserError
        If the folder was not calibrated, or its calibration is damaged.
    """
    path, advice = Path(folder) / RESULT, f"run speechbrain-recursive calibrate {folder}"
    text = read_text(path, f"{folder} has no {RESULT}: {advice}")
    try:
        found = json.loads(text)
        halting = Halting(found["criterion"], float(found["threshold"]), int(found["every"]))
        return halting, int(found["full"]["loops"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is no calibration, or it is damaged: {advice}") from None


def calibrate(
    folder: str | Path,
    criterion: str = "kl",
    allowed: float = 0.5,
    split: str | None = None,
    loops: int | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Choose the threshold of :func:`attach` on a dev set and write it to ``calibration.json``.

    Every utterance is decoded at each loop count, and its criterion is measured after each loop, or at
    each exit that the objective supervises. No utterance depends on the others in its batch, so these
    measurements determine the result of any threshold.

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

    Returns
    -------
    dict
        ``criterion``, ``threshold``, ``every`` and ``split``; and ``full``, ``adaptive`` and ``fixed``,
        each with its average ``loops`` and ``wer``. ``fixed`` mixes the exits ``below`` and ``above``
        the adaptive average, so that its average is the same.

    Raises
    ------
    UserError
        If :func:`~speechbrain_recursive.inference.results.open_results` raises it, not exactly one block
        of the model recurs, or ``loops`` is below 1 or more than the model can make.
    """
    folder = Path(folder)
    model, tokenizer, hparams = open_results(folder, device)
    corpus = hparams["corpus"]
    split = split or corpus.dev_splits[0]
    manifest = folder / "manifests" / f"{split}.csv"
    meter = _Meter(criterion)
    attach(model, meter)
    hparams["objective"].start_epoch(hparams["epoch_counter"].limit)  # what training ended with
    exits = hparams["objective"].needs(model.depth()).exits
    every = meter.every = min((exit.loops for exit in exits), default=1)
    loops = depth_for(model, loops).loops
    counts = torch.tensor([*range(every, loops, every), loops])
    loader = eval_loader(make_dataset([manifest], tokenizer, model.sample_rate))
    try:
        triples, values = _measure(model, tokenizer, corpus.units, loader, meter, loops)
    except ValueError as error:
        raise UserError(f"--loops {loops}: {error}") from error
    rates = [error_rate(column) for column in triples]
    wers = [rate.wer for rate in rates]
    errors, words = torch.tensor([rate.errors for rate in rates]), sum(rates[0].lengths)
    threshold, average, wer = 0.0, float(loops), wers[-1]
    for candidate in _thresholds(values):
        exits = counts[_exits(values, candidate)]
        rate = 100 * float(errors.gather(0, exits[None] - 1).sum()) / words
        if rate <= wers[-1] + allowed and float(exits.float().mean()) < average:
            threshold, average, wer = candidate, float(exits.float().mean()), rate
    below = max(count for count in counts.tolist() if count <= average)
    above = min((count for count in counts.tolist() if count > below), default=below)
    share = (average - below) / max(1, above - below)
    mixed = wers[below - 1] + share * (wers[above - 1] - wers[below - 1])

    def at(count):
        return {"loops": count, "wer": wers[count - 1]}

    found = {
        "criterion": criterion,
        "threshold": threshold,
        "every": every,
        "split": split,
        "full": at(loops),
        "adaptive": {"loops": average, "wer": wer},
        "fixed": {"loops": average, "wer": mixed, "below": at(below), "above": at(above)},
    }
    write_whole(folder / RESULT, json.dumps(found, indent=1))
    return found


def as_text(found: dict[str, Any]) -> str:
    """The outcome of :func:`calibrate` as a Markdown table."""
    full, adaptive, fixed = found["full"], found["adaptive"], found["fixed"]
    saved = 100 * (1 - adaptive["loops"] / full["loops"])
    rows = [
        ("full depth", full),
        ("adaptive", adaptive),
        ("fixed, mixed to the same average", fixed),
        ("fixed", fixed["below"]),
        ("fixed", fixed["above"]),
    ]
    head = (
        f"{found['split']}, criterion {found['criterion']}, threshold {found['threshold']:.3g}: "
        f"{saved:.0f}% of the loops saved\n\n| exit | loops on average | WER % |\n|---|---|---|"
    )
    lines = [f"| {name} | {row['loops']:.4g} | {row['wer']:.2f} |" for name, row in rows]
    return "\n".join([head, *lines])


class _Meter(Halting):
    """Ends no row, but records the criterion [B] at every exit."""

    def __init__(self, criterion):
        super().__init__(criterion)
        self.values = []

    def done(self, state):
        if (state.step.loop + 1) % self.every == 0:
            self.values.append(self.measure(state).cpu())


@torch.no_grad()
def _measure(model, tokenizer, units, loader, meter, loops):
    """Triples (id, reference, hypothesis) by loop count, and criteria [N] by exit except the last."""
    triples, values = [[] for _ in range(loops)], [[] for _ in range(meter.every, loops, meter.every)]
    device = next(model.parameters()).device
    for batch in loader:
        batch = batch.to(device)
        for count in range(1, loops + 1):
            meter.values.clear()
            outputs = model(*batch.sig, depth=model.depth(count))
            decoded = greedy(outputs.log_probs, outputs.frames)
            for row, ids in enumerate(decoded):
                text = "" if batch.unreadable[row] else tokenizer.decode(ids)
                triples[count - 1].append((batch.id[row], units(batch.wrd[row]), units(text)))
        for exit_values, value in zip(values, meter.values, strict=False):
            exit_values.append(value)
    return triples, [torch.cat(parts) for parts in values]


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
