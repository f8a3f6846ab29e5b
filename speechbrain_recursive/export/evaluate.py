"""Error rates of an exported model at every depth of its run's report."""

from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.analysis.nist import scorer
from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.onnx import RecursiveASROnnx, greedy
from speechbrain_recursive.inference.results import open_results
from speechbrain_recursive.nn.depth import Depth, labels


def error_rates(out: str | Path, results: str | Path, trust: bool = False) -> list[dict[str, Any]]:
    """Decode a run's test sets greedily, on onnxruntime and on PyTorch.

    Arguments
    ---------
    out : str or pathlib.Path
        The exported folder.
    results : str or pathlib.Path
        The results folder that it was made from, whose manifests name audio that is still there.
    trust : bool
        Whether the YAML of the results folder may name any code.

    Returns
    -------
    list of dict
        For each depth of the report: ``label``, and ``exported`` and ``model``, the error rates in
        percent over all test sets.

    Raises
    ------
    UserError
        If a manifest or its audio is not there any more.
    """
    exported = RecursiveASROnnx(out)
    model, tokenizer, hparams = open_results(results, trust=trust)
    task, corpus = hparams["task"], hparams["corpus"]
    depths = [Depth.of(model.schedule, each) for each in task.eval_loops]
    depths += [Depth(model.schedule.with_depth(each)) for each in task.eval_depths]
    names = labels(sorted({model.depth(), *depths}, key=len))
    paths = [Path(results) / f"manifests/{split}.csv" for split in corpus.test_splits]
    rows = {uid: row for path in paths for uid, row in read_manifest(path).items()}
    found = {depth: ([], []) for depth in names}
    for uid, row in Bar(rows.items(), "Error rates"):
        if not Path(row["wav"]).is_file():
            raise UserError(f"{row['wav']}, of the run's test sets, does not exist any more")
        signal = read_audio(row["wav"], model.sample_rate, row["start"], row["stop"], row["channel"])
        for depth, triples in found.items():
            with torch.no_grad():
                theirs = model(signal[None], torch.ones(1), depth=depth).log_probs[0].numpy()
            for each, log_probs in zip(
                triples, (exported.log_probs(signal.numpy(), depth), theirs), strict=True
            ):
                text = tokenizer.decode(greedy(log_probs, tokenizer.blank))
                each.append((uid, corpus.units(row["wrd"]), corpus.units(text)))
    score = scorer(rows, corpus.rules(paths[0]))
    rates = {depth: [score(each).rate.wer for each in triples] for depth, triples in found.items()}
    return [
        {"label": name, "exported": rates[depth][0], "model": rates[depth][1]}
        for depth, name in names.items()
    ]
