"""The error rate of a trained model on a set of its corpus, at any depths."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.analysis.wer import ErrorRate, error_rate
from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.dataset import eval_loader, make_dataset
from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.request import Request


@torch.no_grad()
def error_of(
    model: ASRModel,
    tokenizer: Pieces,
    hparams: dict[str, Any],
    manifests: Sequence[str | Path],
    depths: Iterable[Depth],
) -> dict[Depth, ErrorRate]:
    """Decode manifests greedily at several depths and count errors.

    Features are computed once for all depths.

    Arguments
    ---------
    model, tokenizer, hparams
        From :func:`~speechbrain_recursive.inference.results.open_results`. The depths may leave layers
        of the model out.
    manifests : sequence of (str or pathlib.Path)
        As in :func:`~speechbrain_recursive.data.dataset.make_dataset`.
    depths : iterable of Depth
        What runs.

    Returns
    -------
    dict of Depth to ErrorRate
        In the order of the depths. The units are those of the corpus.

    Raises
    ------
    UserError
        If a manifest or its audio cannot be read, or all its transcripts are empty.
    """
    units, device = hparams["corpus"].units, next(model.parameters()).device
    found = {depth: [] for depth in depths}
    request = Request(heads=["ctc"])
    dataset = make_dataset(manifests, tokenizer, model.sample_rate)
    loader = eval_loader(dataset, hparams["eval_batch_seconds"])
    for batch in Bar(loader, "Error rates"):
        batch = batch.to(device)
        features = model.embed.features(*batch.sig)
        for depth, triples in found.items():
            outputs = model.from_features(*features, depth=depth, request=request)
            for row, ids in enumerate(greedy(outputs.log_probs, outputs.frames)):
                text = "" if batch.unreadable[row] else tokenizer.decode(ids)
                triples.append((batch.id[row], units(batch.wrd[row]), units(text)))
    return {depth: error_rate(triples) for depth, triples in found.items()}
