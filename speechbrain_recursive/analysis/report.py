"""Writes a run's report: ``report.json``, ``report.md`` and a plot of error rate against depth."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from speechbrain_recursive.analysis.plots import depth_axis, error_vs_depth
from speechbrain_recursive.analysis.wer import ErrorRate, format_alignment
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.nn.depth import Depth

_LIBRARIES = (
    "speechbrain-recursive",
    "torch",
    "torchaudio",
    "speechbrain",
    "flashlight-text",
    "kenlm",
    "sentencepiece",
)


def result_row(
    split: str,
    depth: Depth,
    decoder: str,
    rate: ErrorRate | None,
    rtf: float | None,
    trained: bool,
    supervised: bool,
    metric: str = "wer",
    label: str | None = None,
) -> dict:
    """Make one row of a report's ``results``.

    Arguments
    ---------
    split : str
        Name of the test set.
    depth : Depth
        What ran.
    decoder : str
        Name of the decoder.
    rate : ErrorRate or None
        From :func:`speechbrain_recursive.analysis.wer.error_rate`; None if the training diverged.
    rtf : float or None
        Seconds of computing per second of audio; None if not measured.
    trained : bool
        Whether this is the depth trained for.
    supervised : bool
        Whether this depth had a loss in training.
    metric : str
        ``"wer"`` or ``"cer"``.
    label : str, optional
        Name of the depth; ``str(depth)`` by default.

    Returns
    -------
    dict
        With ``loops`` if the depth has one loop count, else with its logical ``depth``.

    Example
    -------
    >>> from speechbrain_recursive.analysis.wer import error_rate
    >>> from speechbrain_recursive.nn.schedule import bicycle, cycle
    >>> rate = error_rate([("u1", ["a", "b"], ["a", "c"])])
    >>> row = result_row("test-clean", Depth(cycle(2, 4)), "greedy", rate, 0.01, True, True)
    >>> row["label"], row["loops"], row["wer"]
    ('4', 4, 50.0)
    >>> row = result_row("test-clean", Depth(bicycle(4, 5, 2, 3)), "greedy", rate, 0.01, True, True)
    >>> row["label"], row["depth"]
    ('20 (phonetic x2, linguistic x3)', 20)
    """
    one_count = {"loops": depth.loops} if depth.loops is not None else {"depth": len(depth)}
    return {
        "split": split,
        "label": str(depth) if label is None else label,
        **one_count,
        "decoder": decoder,
        metric: rate and rate.wer,
        "low": rate and rate.low,
        "high": rate and rate.high,
        "rtf": rtf,
        "trained": trained,
        "supervised": supervised,
    }


def environment() -> dict:
    """The date, the code, the hardware and the library versions.

    Returns
    -------
    dict
        ``date`` (str, UTC), ``commit`` (str, of the checkout that the package runs from, with ``-dirty``
        if a file of it has changed; ``not a checkout`` where it was installed), ``hardware`` (str) and
        ``versions`` (dict of str to str).

    Example
    -------
    >>> "torch" in environment()["versions"]
    True
    """
    cpu_info = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpu_info.read_text() if cpu_info.exists() else "")
    cpu = name[1] if name else platform.processor() or platform.machine()
    hardware = f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        hardware += f"; {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    date = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")
    return {"date": date, "commit": _commit(), "hardware": hardware, "versions": versions}


def _commit():
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        # --abbrev=12 is longer than any abbreviation that git would choose for a project of this size
        found = subprocess.run([*git, "--abbrev=12"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return "not a checkout"
    return found.stdout.strip()


def write_report(
    folder: str | Path, rows: list[dict], info: dict, worst: dict[str, list[dict]] | None = None
) -> str:
    """Write ``report.json``, ``report.md`` and the plot, and print the table.

    The plot is ``wer_vs_loops.png``, or ``wer_vs_depth.png`` if rows have ``depth`` in place of
    ``loops``. Each file is replaced in one step. Rows without an error rate are those of a training that
    diverged: tables say DNC (did not converge), and there is no plot if there are only such rows.

    Arguments
    ---------
    folder : str or pathlib.Path
        Where the files go; created if it is missing.
    rows : list of dict
        Results from :func:`result_row`, at least one. Decoders become columns in the order in which rows
        first name them.
    info : dict
        Further entries of ``report.json``: ``schedule`` (str), ``logical_depth`` (int), ``parameters``
        (dict of part to int), ``multiply_adds_per_second`` (dict of label to int), ``seed``,
        ``command``, ``hardware``, ``versions`` (dict), ``synthetic`` (bool: the speech is synthetic),
        and any others.
    worst : dict of str to list of dict, optional
        By split, from :func:`speechbrain_recursive.analysis.wer.worst_utterances`.

    Returns
    -------
    str
        The table in Markdown.

    Example
    -------
    >>> import tempfile
    >>> row = {"split": "test", "label": "2", "loops": 2, "decoder": "greedy", "wer": 9.0, "low": 8.0,
    ...        "high": 10.0, "rtf": 0.01, "trained": True, "supervised": False}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = write_report(folder, [row], {"multiply_adds_per_second": {"2": 10**9}})
    Results
    <BLANKLINE>
    | split |       loops | WER % greedy [95%] | multiply-adds/s | RTF greedy |
    | ----- | ----------- | ------------------ | --------------- | ---------- |
    | test  | 2 (trained) |    9.0 [8.0, 10.0] |          1.00 G |       0.01 |
    <BLANKLINE>
    Report: .../report.md, plot: .../wer_vs_loops.png
    """
    heading = "Results"
    if info.get("synthetic"):
        heading += " on synthetic speech (not comparable with results on recordings)"
    folder, axis = Path(folder), depth_axis(rows)
    table = results_table(rows, axis, info.get("multiply_adds_per_second", {}))
    metric = "CER" if "cer" in rows[0] else "WER"
    title = f"{metric} by {axis}" + (", synthetic speech" if info.get("synthetic") else "")
    measured = [row for row in rows if row[metric.lower()] is not None]
    plot = f"wer_vs_{axis}.png" if measured else None
    report = json.dumps({"results": rows, **info}, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(folder / "report.json", report)
    if plot:
        write_whole(folder / plot, error_vs_depth(measured, title))
    write_whole(folder / "report.md", _markdown(heading, table, plot, info, worst or {}))
    where = f"Report: {folder / 'report.md'}" + (f", plot: {folder / plot}" if plot else "")
    print(f"{heading}\n\n{table}\n\n{where}")
    return table


def results_table(rows: list[dict], axis: str, compute: dict[str, int]) -> str:
    """Format results as a table in Markdown, with a line per split and depth and a column per decoder.

    Arguments
    ---------
    rows : list of dict
        From :func:`result_row`.
    axis : str
        What depths are called: ``loops`` or ``depth``.
    compute : dict of str to int
        Multiply-adds per second of audio, by label.
    """
    metric = "cer" if "cer" in rows[0] else "wer"
    decoders = list(dict.fromkeys(row["decoder"] for row in rows))
    lines = {}
    for row in rows:
        lines.setdefault((row["split"], row["label"]), {})[row["decoder"]] = row
    cells = []
    for (split, label), by_decoder in lines.items():
        first = next(iter(by_decoder.values()))
        notes = [note for note in ("trained", "supervised") if first[note]]
        found = [by_decoder.get(decoder) for decoder in decoders]
        rates = [_rate(row, metric) if row else "-" for row in found]
        rtfs = [f"{r['rtf']:.3g}" if r and r["rtf"] is not None else "-" for r in found]
        depth = f"{label} ({', '.join(notes)})" if notes else label
        adds = f"{compute[label] / 1e9:.2f} G" if label in compute else "-"
        cells.append([split, depth, *rates, adds, " / ".join(rtfs)])
    heads = [f"{metric.upper()} % {decoder} [95%]" for decoder in decoders]
    head = ["split", axis, *heads, "multiply-adds/s", f"RTF {' / '.join(decoders)}"]
    return markdown_table(head, cells)


def _rate(row, metric):
    if row[metric] is None:
        return "DNC"
    sclite = f", sclite {row['sclite']:.1f}" if "sclite" in row else ""
    return f"{row[metric]:.1f} [{row['low']:.1f}, {row['high']:.1f}]{sclite}"


def _markdown(
    heading: str, table: str, plot: str | None, info: dict, worst: dict[str, list[dict]]
) -> str:
    plain = {key: value for key, value in info.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in info.items() if isinstance(value, dict)}
    nested.pop("multiply_adds_per_second", None)  # a column of the table
    parts = [f"# {heading}", table, *([f"![Error rates]({plot})"] if plot else [])]
    parts.append("Intervals: 95%, bootstrap over utterances (Bisani and Ney, 2004).")
    parts.append("## Run")
    parts.append("\n".join(f"- {key.replace('_', ' ')}: `{plain[key]}`" for key in plain))
    for key, values in nested.items():
        lines = [[name, f"{n:,}" if isinstance(n, int) else str(n)] for name, n in values.items()]
        parts += [f"## {key.replace('_', ' ').capitalize()}", markdown_table(["", ""], lines)]
    for split, utterances in worst.items():
        aligned = "\n\n".join(format_alignment(utterance) for utterance in utterances)
        parts += [f"## Worst utterances of {split}", f"```\n{aligned}\n```" if aligned else "None."]
    return "\n\n".join(parts) + "\n"


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table whose columns are aligned in plain text too.

    Arguments
    ---------
    head : sequence of str
        Headings of the columns.
    lines : sequence of sequence of str
        Cells of each line, as many as there are columns.

    Returns
    -------
    str

    Example
    -------
    >>> print(markdown_table(["split", "WER"], [["dev", "9.5"]]))
    | split | WER |
    | ----- | --- |
    | dev   | 9.5 |
    """
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, *lines)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    text = []
    for first, *rest in lines:
        cells = [first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)
