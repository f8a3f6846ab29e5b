"""Two runs side by side: what each heard in the same utterances."""

import json
from dataclasses import dataclass
from pathlib import Path

from speechbrain_recursive.analysis.plots import loops_label
from speechbrain_recursive.analysis.wer import Triple
from speechbrain_recursive.errors import UserError


@dataclass(frozen=True)
class Pair:
    """Hypotheses of two runs for the same utterances, in the same order.

    Arguments
    ---------
    split : str
        Name of the test set.
    decoder : str
        ``"greedy"``, ``"ngram"`` or ``"joint"``.
    loops : (str, str)
        Loop counts of the two runs, as `speechbrain_recursive.analysis.plots.loops_label` writes them.
    metric : str
        ``"wer"``, or ``"cer"`` where the tokens are characters.
    first, second : list of (str, list of str, list of str)
        Utterance id, reference tokens, hypothesis tokens.
    """

    split: str
    decoder: str
    loops: tuple[str, str]
    metric: str
    first: list[Triple]
    second: list[Triple]


@dataclass(frozen=True)
class _Run:
    """Hypotheses of a run by (split, decoder, loops), and the loop count that it was trained for."""

    folder: Path
    metric: str
    trained: str
    found: dict[tuple[str, str, str], dict[str, tuple[str, str]]]

    def pick(self, split, decoder, loops):
        """Reference and hypothesis by utterance."""
        if (split, decoder, loops) not in self.found:
            there = sorted({f"{d} at loops {n}" for s, d, n in self.found if s == split})
            raise UserError(
                f"{self.folder} has no hypotheses of {split} by {decoder} at loops {loops}; "
                f"it has {'; '.join(there) or 'none of that split'}"
            )
        return self.found[split, decoder, loops]


def read_pairs(first, second, decoder="greedy", loops=None, split=None):
    """Pair two runs' hypotheses, test set by test set.

    Arguments
    ---------
    first, second : str or pathlib.Path
        Results folders, with ``report.json`` and ``hypotheses.json``, whose texts have a space between
        the units that errors are counted in.
    decoder : str
        Whose hypotheses.
    loops : sequence of str, optional
        One loop count, or one for each run; those they were trained for by default.
    split : str, optional
        One test set; all that both runs have by default.

    Returns
    -------
    list of Pair
        At least one.

    Raises
    ------
    UserError
        If a file is missing or not what a run wrote, there are no such hypotheses, or the utterances
        or references of the two runs are not the same.
    """
    runs = [_read(Path(folder)) for folder in (first, second)]
    if runs[0].metric != runs[1].metric:
        raise UserError(
            f"{first} counts {runs[0].metric.upper()} and {second} counts {runs[1].metric.upper()}"
        )
    counts = tuple(loops) * (2 // len(loops)) if loops else (runs[0].trained, runs[1].trained)
    splits = [list(dict.fromkeys(key[0] for key in run.found)) for run in runs]
    common = [name for name in splits[0] if name in splits[1]]
    if not split and not common:
        raise UserError(
            f"no test set in common: {first} has {', '.join(splits[0])}; "
            f"{second} has {', '.join(splits[1])}"
        )
    return [_pair(runs, name, decoder, counts) for name in ([split] if split else common)]


def _pair(runs, split, decoder, counts):
    first, second = (run.pick(split, decoder, n) for run, n in zip(runs, counts, strict=True))
    for one, other, run in ((first, second, runs[0]), (second, first, runs[1])):
        alone = sorted(one.keys() - other.keys())
        if alone:
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            raise UserError(
                f"{runs[0].folder} and {runs[1].folder} were tested on different utterances of "
                f"{split}: only {run.folder} has {alone[0]}{more}"
            )
    triples = ([], [])
    for uid, (reference, hypothesis) in first.items():
        if second[uid][0] != reference:
            raise UserError(
                f"utterance {uid} of {split} has another reference in {runs[1].folder} than in "
                f"{runs[0].folder}"
            )
        for side, text in zip(triples, (hypothesis, second[uid][1]), strict=True):
            side.append((uid, reference.split(), text.split()))
    return Pair(split, decoder, counts, runs[0].metric, *triples)


def _read(folder):
    rows = _json(folder / "hypotheses.json")
    results = _json(folder / "report.json")
    try:
        found = {}
        for row in rows:
            key = (row["split"], row["decoder"], loops_label(row["loops"]))
            found.setdefault(key, {})[row["id"]] = (row["reference"], row["hypothesis"])
        results = results["results"]
        trained = next(loops_label(row["loops"]) for row in results if row["trained"])
        metric = "cer" if "cer" in results[0] else "wer"
    except (KeyError, TypeError, StopIteration) as error:
        raise UserError(
            f"{folder}: hypotheses.json and report.json are not what a run writes"
        ) from error
    return _Run(folder, metric, trained, found)


def _json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not there: evaluate the run first (the recipe's train.py)") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
