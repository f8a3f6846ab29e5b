"""Which phonemes can be read from the states of trained models, after each logical step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from speechbrain_recursive.analysis.probe import accuracy, frames_read
from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.manifest import NUMBERS, read_manifest
from speechbrain_recursive.data.phonemes import (
    FILE,
    Phoneme,
    find_phonemes,
    phonemes_at,
    read_phonemes,
)
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.layers import open_layers
from speechbrain_recursive.inference.results import open_results, short_names

ROUNDING = 0.05  # seconds by which an alignment may be longer than its audio


def probe_models(
    models: Sequence[str | Path],
    labels: str | Path | None = None,
    split: str | None = None,
    limit: int = 200,
    device: str = "cpu",
    trust: bool = False,
) -> dict[str, Any]:
    """Measure how well a linear classifier reads the phoneme of each frame after each logical step.

    Frames whose center lies in a phoneme count, those of silence do not. Half of the speakers train the
    classifier and the others test it, and the other way round; see
    :func:`speechbrain_recursive.analysis.probe.frames_read`.

    Arguments
    ---------
    models : sequence of (str or pathlib.Path)
        Results folders. The utterances are those of the first.
    labels : str or pathlib.Path, optional
        A table for :func:`speechbrain_recursive.data.phonemes.read_phonemes`. By default that of the
        corpus; synthetic corpora have one.
    split : str, optional
        A set of the first model; its first test set by default.
    limit : int
        Maximum number of utterances, spread evenly over those that have phonemes.
    device : str
        Where the models run and the classifiers are trained.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    dict
        ``split``, ``labels``, ``utterances``, ``frames``, ``phonemes`` (how many different ones),
        ``majority`` (the accuracy of a classifier that sees no state) and ``models``: from the name of
        each to its steps, with ``layer``, ``accuracy``, ``low`` and ``high`` in percent.

    Raises
    ------
    UserError
        If a folder holds no finished run, a folder is given twice, there is no such split, the labels
        are missing or do not fit the audio, or they are of fewer than two speakers.
    """
    names = short_names(models)
    hparams, *_ = [
        open_results(model, device, trust)[2] for model in models
    ]  # all, before one of them runs
    split = split or hparams["corpus"].test_splits[0]
    utterances, facts = spoken_utterances(models[0], labels, split, limit)
    inventory = sorted({each.name for utterance in utterances for each in utterance.phonemes})
    speakers = [utterance.speaker for utterance in utterances]

    def read(states, classes):
        right = frames_read(states, classes, speakers, len(inventory))
        return accuracy(right, [len(each) for each in classes])

    found = {}
    for name, model in zip(names, models, strict=True):
        layers = open_layers(model, device=device, trust=trust)
        states, classes = _frames(layers, Bar(utterances, f"States of {name}"), inventory)
        if not found:  # the same for all models with as many frames a second
            try:
                majority = read([each[:, None] * 0.0 for each in classes], classes)["accuracy"]
            except ValueError as error:
                where = f"{facts['labels']}, {split}"
                raise UserError(f"{where}: {error}; more utterances are needed") from error
            facts |= {"frames": sum(map(len, classes)), "phonemes": len(inventory)}
            facts["majority"] = majority
        bar = Bar(range(len(layers.labels)), f"Probes of {name}")
        steps = [read([each[index] for each in states], classes) for index in bar]
        found[name] = [
            {"layer": layer, **step} for layer, step in zip(layers.labels, steps, strict=True)
        ]
    return {**facts, "models": found}


class Utterance(NamedTuple):
    """An utterance whose phonemes are known; ``audio`` is what ``read_audio`` takes besides the rate."""

    speaker: str
    audio: tuple
    text: str
    phonemes: list[Phoneme]


def spoken_utterances(
    folder: str | Path, labels: str | Path | None, split: str, limit: int
) -> tuple[list[Utterance], dict[str, Any]]:
    """The utterances of a run that have phonemes, and what is to be said of them.

    Arguments and errors are those of :func:`probe_models`.
    """
    manifest = Path(folder) / "manifests" / f"{split}.csv"
    rows = {uid: row for uid, row in read_manifest(manifest).items() if not row["unreadable"]}
    path = labels or find_phonemes(row["wav"] for row in rows.values())
    if path is None:
        raise UserError(f"{manifest}: the corpus has no {FILE}; name such a table with --labels")
    spoken = read_phonemes(path)
    both = [uid for uid in rows if uid in spoken]
    if not both:
        raise UserError(f"{path} has no phonemes of any utterance in {manifest}")
    if limit < 1:
        raise UserError(f"at least one utterance is needed, got {limit}")
    chosen = [both[i * len(both) // limit] for i in range(limit)] if limit < len(both) else both
    for uid in chosen:
        end, duration = spoken[uid][-1].end, rows[uid]["duration"]
        if end > duration + ROUNDING:
            raise UserError(
                f"{path}: the phonemes of {uid} end at {end:g} s, but it lasts {duration:.2f} s; "
                "times are in seconds from the beginning of the utterance"
            )
    found = []
    for uid in chosen:
        row = rows[uid]
        audio = row["wav"], *map(row.get, NUMBERS)
        found.append(Utterance(row["spk_id"], audio, row["wrd"], spoken[uid]))
    return found, {"split": split, "labels": str(path), "utterances": len(found)}


def _frames(layers, utterances, inventory):
    """States [N, F, d] and phonemes [F] of the F frames of each utterance that have a phoneme."""
    states, classes = [], []
    for _, (wav, *part), _, phonemes in utterances:
        outputs = layers.outputs(read_audio(wav, layers.sample_rate, *part))
        times = [k * layers.frame_seconds for k in range(outputs.shape[1])]
        names = phonemes_at(phonemes, times)
        kept = [k for k, name in enumerate(names) if name is not None]
        states.append(outputs[:, kept])
        found = [inventory.index(names[k]) for k in kept]
        classes.append(torch.tensor(found, dtype=torch.long, device=outputs.device))
    return states, classes
