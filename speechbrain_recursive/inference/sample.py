"""A test utterance of a run, by which a published folder is compared with the run."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import speechbrain as sb
import torch

from speechbrain_recursive.analysis.nist import scorer
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text
from speechbrain_recursive.inference.decoders import build_decoder
from speechbrain_recursive.inference.results import open_results


class Sample(NamedTuple):
    """A test utterance of a run: its manifest and row there, and what each decoder made of it."""

    uid: str
    manifest: Path
    row: dict[str, Any]
    hypotheses: dict[str, str]


def choose_sample(results: Path, report: dict[str, Any]) -> Sample | None:
    """The shortest test utterance whose audio is there and in which the run heard words.

    Returns
    -------
    Sample or None
        None if there is no such audio.
    """
    label = next(row["label"] for row in report["results"] if row["trained"])
    heard = {}  # hypotheses by split, ID and decoder
    for row in json.loads(read_text(results / "hypotheses.json")):
        if row["label"] == label:
            heard.setdefault((row["split"], row["id"]), {})[row["decoder"]] = row["hypothesis"]
    splits = {split: results / f"manifests/{split}.csv" for split, _ in heard}
    rows = {split: read_manifest(path) for split, path in splits.items() if path.is_file()}
    found = [
        Sample(uid, splits[split], rows[split][uid], hypotheses)
        for (split, uid), hypotheses in heard.items()
        if split in rows
        and not rows[split][uid]["unreadable"]
        and Path(rows[split][uid]["wav"]).is_file()
    ]
    return min(found, key=lambda s: (not all(s.hypotheses.values()), s.row["duration"]), default=None)


@torch.no_grad()
def check(folder: Path, sample: Sample | None, trust: bool = False) -> None:
    """Open a published folder and compare the transcripts of a sample, by every decoder.

    Raises
    ------
    UserError
        If the folder does not open or a transcript is not the run's.
    """
    model, tokenizer, hparams = open_results(folder, trust=trust)
    if sample is None:
        return
    row, task, corpus = sample.row, hparams["task"], hparams["corpus"]
    signal = read_audio(row["wav"], model.sample_rate, row["start"], row["stop"], row["channel"])
    depth = task.policy.at_inference(model.schedule, [len(signal) / model.sample_rate])
    chunks = task.dynamic_chunks and task.dynamic_chunks(sb.Stage.TEST)
    whole = torch.ones(1)
    count = scorer({sample.uid: row}, corpus.rules(sample.manifest))
    for name, hypothesis in sample.hypotheses.items():
        decoder = task.decoders[name]
        options = {"request": decoder.request, "dynchunktrain_config": chunks}
        outputs = model(signal[None], whole, depth=depth, **options)
        decode = build_decoder(decoder, model, tokenizer, hparams, folder, trust)
        words = corpus.units(tokenizer.decode(decode(outputs)[0]))
        ((_, _, words),) = count([(sample.uid, corpus.units(row["wrd"]), words)]).triples
        if (text := " ".join(words)) != hypothesis:
            raise UserError(
                f"{folder}: {name} transcribes {sample.uid} as {text!r}, and the run as {hypothesis!r}"
            )
