"""How far the token boundaries of a CIF model are from those of synthetic speech."""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.espeak import Espeak
from speechbrain_recursive.data.phonemes import Phoneme
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.probe import spoken_utterances
from speechbrain_recursive.inference.results import open_results
from speechbrain_recursive.nn.cif import boundaries


def boundary_errors(
    folder: str | Path,
    split: str | None = None,
    limit: int = 200,
    device: str = "cpu",
    trust: bool = False,
) -> dict[str, Any]:
    """Compare the seconds at which words end, or characters where errors are counted in characters.

    The model is told how many tokens there are, so that every unit has a boundary. Utterances count if
    eSpeak has as many phonemes for their units one by one as for the whole, and the tokens spell them.

    Arguments
    ---------
    folder : str or pathlib.Path
        Results of a finished run on a synthetic corpus.
    split : str, optional
        The first test set by default.
    limit : int
        Maximum number of utterances, spread evenly over all.
    device : str
        Where the model runs.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    dict
        ``split``, ``labels``, ``utterances``, ``skipped`` utterances, ``boundaries``, and in
        milliseconds ``error`` (mean absolute), ``shift`` (mean; above 0 if boundaries come late) and
        ``even`` (the error of boundaries that are spread evenly over the utterance).

    Raises
    ------
    UserError
        If the folder holds no finished run, its model has no part ``cif``, there is no such split, its
        corpus has no phonemes, or no utterance counts.
    """
    model, tokenizer, hparams = open_results(folder, device, trust)
    if "cif" not in model.after:
        raise UserError(f"{folder}: the model has no part 'cif', which finds boundaries")
    corpus = hparams["corpus"]
    split = split or corpus.test_splits[0]
    utterances, facts = spoken_utterances(folder, None, split, limit)
    voice, errors, even, skipped = Espeak(corpus.twin.language), [], [], 0

    @cache
    def length(unit):
        voice.speak(unit.lower())
        return len(voice.phonemes)

    for _, (wav, *part), text, phonemes in Bar(utterances, f"Boundaries of {split}"):
        units = corpus.units(text)
        ids = tokenizer.encode(text)
        read = [corpus.units(tokenizer.decode(ids[: n + 1])) for n in range(len(ids))]
        true, last = unit_ends(phonemes, [length(unit) for unit in units]), last_tokens(units, read)
        if true is None or last is None:
            skipped += 1
            continue
        signal = read_audio(wav, model.sample_rate, *part)
        found = _token_ends(model, signal.to(device), len(ids) + 1)
        errors += [found[token] - end for token, end in zip(last, true, strict=True)]
        each = len(signal) / model.sample_rate / len(units)
        even += [abs(each * (k + 1) - end) for k, end in enumerate(true)]
    if not errors:
        raise UserError(
            f"{folder}: of no utterance of {split} do the tokens spell the units and {facts['labels']} "
            "have as many phonemes as these; name another --split"
        )
    return {
        **facts,
        "skipped": skipped,
        "boundaries": len(errors),
        "error": 1000 * fmean(map(abs, errors)),
        "shift": 1000 * fmean(errors),
        "even": 1000 * fmean(even),
    }


def unit_ends(phonemes: Sequence[Phoneme], lengths: Sequence[int]) -> list[float] | None:
    """Seconds at which units of so many phonemes end; None if there are more or fewer phonemes.

    Example
    -------
    >>> unit_ends([Phoneme(0.0, 0.1, "h"), Phoneme(0.1, 0.3, "i"), Phoneme(0.5, 0.6, "a")], [2, 1])
    [0.3, 0.6]
    """
    if sum(lengths) != len(phonemes) or 0 in lengths:
        return None
    return [phonemes[end - 1].end for end in accumulate(lengths)]


def last_tokens(units: Sequence[str], read: Sequence[Sequence[str]]) -> list[int] | None:
    """The place of the token that completes each unit, given the units in the first one, two... tokens.

    Returns
    -------
    list of int or None
        None if the tokens do not spell a unit.

    Example
    -------
    >>> last_tokens(["AB", "C"], [[], ["A"], ["AB"], ["AB"], ["AB", "C"]])
    [2, 4]
    """
    read, units = [list(each) for each in read], list(units)
    if any(units[:n] not in read for n in range(1, len(units) + 1)):
        return None
    return [read.index(units[:n]) for n in range(1, len(units) + 1)]


@torch.no_grad()
def _token_ends(model, signal, count):
    outputs = model(signal[None], torch.ones(1, device=signal.device))
    return boundaries(model, outputs, torch.tensor([count], device=signal.device))[0]
