"""How much a trained model needs each of its layers."""

from pathlib import Path
from typing import Any

from speechbrain_recursive.analysis.sensitivity import keep_most_sensitive
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.results import depth_for, open_results
from speechbrain_recursive.inference.score import error_of
from speechbrain_recursive.nn.depth import Depth


def sensitivity(
    folder: str | Path,
    split: str | None = None,
    loops: int | None = None,
    depth: int | None = None,
    device: str = "cpu",
    trust: bool = False,
) -> dict[str, Any]:
    """Greedy error rates of a model with each of its layers left out (Foldable, Section 4.3).

    A layer is left out wherever the schedule runs it.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder, with any schedule.
    split : str, optional
        The set to decode; the first dev set by default.
    loops, depth : int, optional
        See :func:`~speechbrain_recursive.inference.results.depth_for`; by default what was trained for.
    device : str
        Where the model runs.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    dict
        ``model``, ``split``, ``schedule``, ``metric`` (``"wer"`` or ``"cer"``); ``whole`` and, by layer,
        ``layers``, with the rate in percent under the metric's name and the ends ``low`` and ``high`` of
        its 95% interval; and ``kept``, see
        :func:`~speechbrain_recursive.analysis.sensitivity.keep_most_sensitive`.

    Raises
    ------
    UserError
        If :func:`~speechbrain_recursive.inference.results.open_results` raises it, there is no such
        split, the depth cannot be reached, or the schedule has a single layer.
    """
    model, tokenizer, hparams = open_results(folder, device, trust)
    corpus, whole = hparams["corpus"], depth_for(model, loops, depth, folder)
    layers = sorted({step.layer for step in whole.schedule})
    if len(layers) == 1:
        raise UserError(f"{folder}: the schedule {whole.schedule} has a single layer, which must run")
    without = {layer: Depth(whole.schedule.without(layer)) for layer in layers}
    split = split or corpus.dev_splits[0]
    manifest = Path(folder) / "manifests" / f"{split}.csv"
    rates = error_of(model, tokenizer, hparams, [manifest], [whole, *without.values()])

    def row(which):
        return {corpus.metric: rates[which].wer, "low": rates[which].low, "high": rates[which].high}

    return {
        "model": str(folder),
        "split": split,
        "schedule": str(whole.schedule),
        "metric": corpus.metric,
        "whole": row(whole),
        "layers": {str(layer): row(left) for layer, left in without.items()},
        "kept": keep_most_sensitive({layer: rates[left].wer for layer, left in without.items()}),
    }
