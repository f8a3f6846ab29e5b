"""Pairs the hypotheses of two runs by utterance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbrain_recursive.analysis.wer import Triple
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text


@dataclass(frozen=True)
class Pair:
    """Hypotheses of two runs for the same utterances, in the same order.

    Arguments
    ---------
    split : str
        Name of the test set.
    decoder : str
        Name of the decoder.
    labels : (str, str)
        Depths of the two runs, as their reports name them.
    metric : str
        ``"wer"`` or ``"cer"``.
    first, second : list of (str, list of str, list of str)
        Utterance id, reference tokens, hypothesis tokens.
    """

    split: str
    decoder: str
    labels: tuple[str, str]
    metric: str
    first: list[Triple]
    second: list[Triple]


@dataclass(frozen=True)
class _Run:
    """Hypotheses of a run by (split, decoder, label), its trained depth and its first decoder."""

    folder: Path
    metric: str
    trained: str
    decoder: str
    found: dict[tuple[str, str, str], dict[str, tuple[str, str]]]

    def pick(self, split, decoder, label):
        """Reference and hypothesis by utterance."""
        if (split, decoder, label) not in self.found:
            there = sorted({f"{d} at loops {n}" for s, d, n in self.found if s == split})
            raise UserError(
                f"{self.folder} has no hypotheses of {split} by {decoder} at loops {label}; "
                f"it has {'; '.join(there) or 'none of that split'}"
            )
        return self.found[split, decoder, label]


def read_pairs(
    first: str | Path,
    second: str | Path,
    decoder: str | None = None,
    labels: Sequence[str] | None = None,
    split: str | None = None,
) -> list[Pair]:
    """Pair the hypotheses of two runs, test set by test set.

    Arguments
    ---------
    first, second : str or pathlib.Path
        Results folders, with ``report.json`` and ``hypotheses.json``.
    decoder : str, optional
        Name of a decoder; the one of the first row of the first run's report by default.
    labels : sequence of str, optional
        One depth for both runs or one for each, as the reports name them, such as a loop count; the
        trained ones by default.
    split : str, optional
        One test set; all that both runs have by default.

    Returns
    -------
    list of Pair
        At least one.

    Raises
    ------
    UserError
        If a file is missing or is not what a run writes, if there are no such hypotheses, or if the two
        runs differ in metric, utterances or references.
    """
    runs = one, other = _read(Path(first)), _read(Path(second))
    if one.metric != other.metric:
        raise UserError(
            f"{first} counts {one.metric.upper()} and {second} counts {other.metric.upper()}"
        )
    decoder = decoder or one.decoder
    labels = tuple(labels) * (2 // len(labels)) if labels else (one.trained, other.trained)
    splits = [list(dict.fromkeys(key[0] for key in run.found)) for run in runs]
    common = [split] if split else [name for name in splits[0] if name in splits[1]]
    if not common:
        raise UserError(
            f"no test set in common: {first} has {', '.join(splits[0])}; "
            f"{second} has {', '.join(splits[1])}"
        )
    return [_pair(runs, name, decoder, labels) for name in common]


def _pair(runs, split, decoder, labels):
    first, second = (run.pick(split, decoder, n) for run, n in zip(runs, labels, strict=True))
    here, there = (run.folder for run in runs)
    for folder, alone in ((here, first.keys() - second.keys()), (there, second.keys() - first.keys())):
        if alone:
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            raise UserError(
                f"{here} and {there} were tested on different utterances of {split}: "
                f"only {folder} has {min(alone)}{more}"
            )
    triples = []
    for uid, (reference, hypothesis) in first.items():
        again, other = second[uid]
        if again != reference:
            raise UserError(
                f"utterance {uid} of {split} has another reference in {there} than in {here}"
            )
        words = reference.split()
        triples.append(((uid, words, hypothesis.split()), (uid, words, other.split())))
    return Pair(split, decoder, labels, runs[0].metric, *map(list, zip(*triples, strict=True)))


def _read(folder):
    rows = read_json(folder / "hypotheses.json")
    results = read_json(folder / "report.json")
    try:
        found = {}
        for row in rows:
            key = (row["split"], row["decoder"], row["label"])
            found.setdefault(key, {})[row["id"]] = (row["reference"], row["hypothesis"])
        results = results["results"]
        trained = next(row["label"] for row in results if row["trained"])
        metric = "cer" if "cer" in results[0] else "wer"
        return _Run(folder, metric, trained, results[0]["decoder"], found)
    except (KeyError, TypeError, StopIteration) as error:
        problem = "hypotheses.json and report.json are not what a run writes"
        raise UserError(f"{folder}: {problem}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file of a results folder.

    Raises
    ------
    UserError
        If it is missing, or no JSON.
    """
    try:
        return json.loads(
            read_text(path, f"{path} does not exist: evaluate the run first, by its train.py")
        )
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
