"""One table of several runs: parameters, depth, error rates, and relative reductions of a baseline's."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from speechbrain_recursive.analysis.pairs import read_json
from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.errors import UserError


def read_runs(
    folders: Sequence[str | Path],
    baseline: str | Path,
    decoder: str | None = None,
    seeds: bool = False,
) -> list[dict]:
    """Read the error rates of runs at the depths that they were trained at.

    Arguments
    ---------
    folders : sequence of (str or pathlib.Path)
        Results folders.
    baseline : str or pathlib.Path
        The one whose error rates the reductions refer to; put first if it is not among them.
    decoder : str, optional
        Name of a decoder; the first of each report by default.
    seeds : bool
        Whether to average runs whose folders differ in their last name alone, such as
        ``results/mini/1`` and ``results/mini/2``.

    Returns
    -------
    list of dict
        For each run its ``folder``, ``parameters`` (int), ``depth`` (int), ``metric`` (``"wer"`` or
        ``"cer"``), ``seeds`` (how many were averaged; None without ``seeds``) and ``splits``: by test
        set the rate in percent with the interval's ends ``low`` and ``high``, or the mean with the
        lowest and the highest seed's rate; and ``reduction``, by how many percent it is below the
        baseline's. A run that diverged has None in place of rates and reductions, and so has the mean of
        seeds of which one diverged; so have the reductions of a baseline, and of all runs where the
        baseline has no errors or has not converged.

    Raises
    ------
    UserError
        If a folder holds no finished run or has no such decoder, a run has other test sets or another
        metric than the baseline, or models differ that are to be averaged.
    """
    folders, baseline = [Path(folder) for folder in folders], Path(baseline)
    if baseline not in folders:
        folders.insert(0, baseline)
    runs = [_read(folder, decoder) for folder in folders]
    base = runs[folders.index(baseline)]
    for run in runs:
        if (run["metric"], run["splits"].keys()) != (base["metric"], base["splits"].keys()):
            sides = (f"{one['metric'].upper()} on {', '.join(one['splits'])}" for one in (run, base))
            raise UserError("{} has {} and the baseline {}".format(run["folder"], *sides))
    if seeds:
        runs = _average(runs)
        base = next(run for run in runs if run["folder"] == str(baseline.parent))
    for run in runs:
        for split, rates in run["splits"].items():
            before, after = (rate[run["metric"]] for rate in (base["splits"][split], rates))
            known = run is not base and None not in (before, after) and before > 0
            rates["reduction"] = 100 * (before - after) / before if known else None
    return runs


def runs_table(runs: Sequence[dict]) -> str:
    """Format runs as a Markdown table.

    Arguments
    ---------
    runs : sequence of dict
        From :func:`read_runs`. ``DNC`` stands for runs that did not converge.

    Returns
    -------
    str

    Example
    -------
    >>> rates = {"test": {"wer": 4.0, "low": 3.5, "high": 4.5, "reduction": 20.0}}
    >>> run = {"folder": "a/1", "parameters": 1_500_000, "depth": 9, "metric": "wer", "seeds": None}
    >>> print(runs_table([{**run, "splits": rates}]))
    | run | parameters | depth |  test WER % [95%] | RERR % |
    | --- | ---------- | ----- | ----------------- | ------ |
    | a/1 |     1.50 M |     9 | 4.00 [3.50, 4.50] |  +20.0 |
    """
    metric = runs[0]["metric"]
    seeds = runs[0]["seeds"]
    head = ["run", *(["seeds"] if seeds else []), "parameters", "depth"]
    for split in runs[0]["splits"]:
        head += [f"{split} {metric.upper()} % [{'lowest, highest' if seeds else '95%'}]", "RERR %"]
    lines = []
    for run in runs:
        cells = [str(run["folder"]), *([str(run["seeds"])] if seeds else [])]
        cells += [f"{run['parameters'] / 1e6:.2f} M", str(run["depth"])]
        for rates in run["splits"].values():
            cells.append(
                "DNC"
                if rates[metric] is None
                else f"{rates[metric]:.2f} [{rates['low']:.2f}, {rates['high']:.2f}]"
            )
            cells.append("-" if rates["reduction"] is None else f"{rates['reduction']:+.1f}")
        lines.append(cells)
    return markdown_table(head, lines)


def _read(folder, decoder):
    report = read_json(folder / "report.json")
    try:
        rows = [row for row in report["results"] if row["trained"]]
        name = decoder or rows[0]["decoder"]
        metric = "cer" if "cer" in rows[0] else "wer"
        splits = {
            row["split"]: {key: row[key] for key in (metric, "low", "high")}
            for row in rows
            if row["decoder"] == name
        }
        parameters, depth = report["parameters"]["total"], report["logical_depth"]
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"{folder}/report.json is not what a run writes") from error
    if not splits:
        there = ", ".join(dict.fromkeys(row["decoder"] for row in rows))
        raise UserError(f"{folder} has no results of the decoder {decoder}; it has {there}")
    return {
        "folder": str(folder),
        "parameters": parameters,
        "depth": depth,
        "metric": metric,
        "seeds": None,
        "splits": splits,
    }


def _average(runs):
    """Means of runs whose folders lie in the same one."""
    groups = {}
    for run in runs:
        groups.setdefault(str(Path(run["folder"]).parent), []).append(run)
    for folder, some in groups.items():
        if len({(run["parameters"], run["depth"]) for run in some}) > 1:
            raise UserError(f"{folder} holds runs of different models, which cannot be averaged")
    return [
        some[0]
        | {"folder": folder, "seeds": len(some), "splits": _mean([run["splits"] for run in some])}
        for folder, some in groups.items()
    ]


def _mean(runs):
    """By split, the mean, the lowest and the highest rate of some runs."""
    found = {}
    for split, (metric, *_) in runs[0].items():
        rates = [splits[split][metric] for splits in runs]
        mean = None if None in rates else fmean(rates)
        ends = (None, None) if mean is None else (min(rates), max(rates))
        found[split] = {metric: mean, "low": ends[0], "high": ends[1]}
    return found
