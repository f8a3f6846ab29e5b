"""One table of several runs: parameters, depth, error rates, and relative reductions of a baseline's."""

from collections.abc import Sequence
from pathlib import Path

from speechbrain_recursive.analysis.pairs import read_json
from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.errors import UserError


def read_runs(
    folders: Sequence[str | Path], baseline: str | Path, decoder: str | None = None
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

    Returns
    -------
    list of dict
        For each run its ``folder``, ``parameters`` (int), ``depth`` (int), ``metric`` (``"wer"`` or
        ``"cer"``) and ``splits``: by test set the rate in percent with the interval's ends ``low`` and
        ``high``, and ``reduction``, by how many percent it is below the baseline's. A run that diverged
        has None in place of rates and reductions; so have the reductions of a baseline, and of all runs
        where the baseline has no errors or has not converged.

    Raises
    ------
    UserError
        If a folder holds no finished run or has no such decoder, or a run has other test sets or another
        metric than the baseline.
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
    >>> run = {"folder": "a/1", "parameters": 1_500_000, "depth": 9, "metric": "wer", "splits": rates}
    >>> print(runs_table([run]))
    | run | parameters | depth |  test WER % [95%] | RERR % |
    | --- | ---------- | ----- | ----------------- | ------ |
    | a/1 |     1.50 M |     9 | 4.00 [3.50, 4.50] |  +20.0 |
    """
    metric = runs[0]["metric"]
    head = ["run", "parameters", "depth"]
    for split in runs[0]["splits"]:
        head += [f"{split} {metric.upper()} % [95%]", "RERR %"]
    lines = []
    for run in runs:
        cells = [str(run["folder"]), f"{run['parameters'] / 1e6:.2f} M", str(run["depth"])]
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
        "splits": splits,
    }
