"""How much a trained model needs each of its layers."""

from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.analysis.sensitivity import keep_most_sensitive
from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.dataset import eval_loader, make_dataset
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.results import depth_for, open_results
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request, Run

CTC = Request(heads=["ctc"])


def sensitivity(
    folder: str | Path,
    split: str | None = None,
    limit: int | None = None,
    loops: int | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Greedy error rates of a model with each of its layers left out (Foldable, Section 4.3).

    A layer is left out wherever the schedule runs it. All runs share one pass through the front-end.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder, with any schedule. Loading a YAML file can run any code that it names, so open
        only folders that you trust.
    split : str, optional
        The set to decode; the first dev set by default.
    limit : int, optional
        Maximum number of utterances, evenly spaced; all by default.
    loops : int, optional
        Loop count of the blocks that recur; the one trained for by default.
    device : str
        Where the model runs.

    Returns
    -------
    dict
        ``model``, ``split``, ``utterances``, ``schedule``, ``metric`` (``"wer"`` or ``"cer"``);
        ``whole`` and ``layers``, each with the rate in percent under the metric's name and the ends
        ``low`` and ``high`` of its 95% interval; and ``kept``, see :func:`keep_most_sensitive`.

    Raises
    ------
    UserError
        If :func:`~speechbrain_recursive.inference.results.open_results` raises it, there is no such
        split, ``limit`` or ``loops`` is below 1, or the schedule has a single layer.
    """
    model, tokenizer, hparams = open_results(folder, device)
    corpus, depth = hparams["corpus"], depth_for(model, loops)
    layers = sorted({step.layer for step in depth.schedule})
    if len(layers) == 1:
        raise UserError(f"{folder}: the schedule {depth.schedule} has a single layer, which must run")
    runs = {str(layer): Run(Depth(depth.schedule.without(layer)), CTC) for layer in layers}
    split = split or corpus.dev_splits[0]
    dataset = make_dataset([Path(folder) / "manifests" / f"{split}.csv"], tokenizer, model.sample_rate)
    dataset.data_ids = _spread(dataset.data_ids, limit)
    loader = eval_loader(dataset)
    triples = {name: [] for name in ("whole", *runs)}
    with torch.no_grad():
        for batch in Bar(loader, f"{split}, without each of {len(layers)} layers"):
            outputs = model(*batch.to(device).sig, depth=depth, request=Request(["ctc"], runs=runs))
            for name, found in {"whole": outputs, **outputs.runs}.items():
                for row, ids in enumerate(greedy(found.log_probs, found.frames)):
                    text = "" if batch.unreadable[row] else tokenizer.decode(ids)
                    triples[name].append((batch.id[row], *map(corpus.units, (batch.wrd[row], text))))
    rates = {name: error_rate(each) for name, each in triples.items()}
    rows = {n: {corpus.metric: r.wer, "low": r.low, "high": r.high} for n, r in rates.items()}
    return {
        "model": str(folder),
        "split": split,
        "utterances": len(dataset.data_ids),
        "schedule": str(depth.schedule),
        "metric": corpus.metric,
        "whole": rows.pop("whole"),
        "layers": rows,
        "kept": keep_most_sensitive({layer: rates[str(layer)].wer for layer in layers}),
    }


def _spread(ids, limit):
    """At most so many ids, evenly spaced."""
    if limit is None or limit >= len(ids):
        return ids
    if limit < 1:
        raise UserError(f"at least one utterance is needed, got {limit}")
    return [ids[i * len(ids) // limit] for i in range(limit)]
