"""What a run leaves behind: ``report.json``, ``report.md``, ``wer_vs_loops.png`` and a table."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from speechbrain_recursive.analysis.plots import loops_label, wer_vs_loops
from speechbrain_recursive.analysis.wer import ErrorRate, format_alignment
from speechbrain_recursive.files import write_whole

_DECODERS = ("greedy", "ngram", "joint")
_LIBRARIES = ("torch", "torchaudio", "speechbrain", "flashlight-text", "kenlm", "sentencepiece")


def result_row(
    split: str,
    loops: int | dict[str, int],
    decoder: str,
    rate: ErrorRate,
    rtf: float | None,
    trained: bool,
    supervised: bool,
    metric: str = "wer",
) -> dict:
    """One row of a report's ``results``.

    Arguments
    ---------
    split : str
        Name of the test set.
    loops : int or dict of str to int
        Loop count, or one by block.
    decoder : str
        ``"greedy"``, ``"ngram"`` or ``"joint"``.
    rate : ErrorRate
        What `speechbrain_recursive.analysis.wer.error_rate` found.
    rtf : float or None
        Seconds of computing per second of audio; None where it was not measured.
    trained : bool
        Whether this is the loop count trained for.
    supervised : bool
        Whether this exit had a loss in training.
    metric : str
        ``"wer"``, or ``"cer"`` where the tokens are characters.

    Returns
    -------
    dict

    Example
    -------
    >>> from speechbrain_recursive.analysis.wer import error_rate
    >>> rate = error_rate([("u1", ["a", "b"], ["a", "c"])])
    >>> result_row("test-clean", 4, "greedy", rate, 0.01, True, True)["wer"]
    50.0
    """
    return {
        "split": split,
        "loops": loops,
        "decoder": decoder,
        metric: rate.wer,
        "low": rate.low,
        "high": rate.high,
        "rtf": rtf,
        "trained": trained,
        "supervised": supervised,
    }


def environment() -> dict:
    """The machine and the libraries that figures were made on.

    Returns
    -------
    dict
        ``hardware`` (str) and ``versions`` (dict of str to str), as `write_report` takes them.

    Example
    -------
    >>> "torch" in environment()["versions"]
    True
    """
    cpu = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [line for line in cpu_info.read_text().splitlines() if line[:10] == "model name"]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    hardware = f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        hardware += f"; {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {"hardware": hardware, "versions": versions}


def write_report(
    folder: str | Path, rows: list[dict], info: dict, worst: dict[str, list[dict]] | None = None
) -> str:
    """Write ``report.json``, ``report.md`` and ``wer_vs_loops.png``, and print the table.

    Each file appears whole or not at all.

    Arguments
    ---------
    folder : str or pathlib.Path
        Where the files go; made if it is not there.
    rows : list of dict
        Results, as `result_row` makes them, at least one.
    info : dict
        What stands beside them in ``report.json``: ``schedule`` (str), ``logical_depth`` (int),
        ``parameters`` (dict of part to int), ``multiply_adds_per_second`` (dict of loop count, or
        of its `loops_label`, to int), ``seed``, ``command``, ``hardware``, ``versions`` (dict)
        and ``synthetic`` (bool: the speech was made by a synthesizer). Any other entry is kept.
    worst : dict of str to list of dict, optional
        By split, what `speechbrain_recursive.analysis.wer.worst_utterances` found.

    Returns
    -------
    str
        The table that was printed, in Markdown.

    Example
    -------
    >>> import tempfile
    >>> row = {"split": "test", "loops": 2, "decoder": "greedy", "wer": 9.0, "low": 8.0,
    ...        "high": 10.0, "rtf": 0.01, "trained": True, "supervised": False}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = write_report(folder, [row], {"multiply_adds_per_second": {2: 10**9}})
    Results
    <BLANKLINE>
    | split |       loops | WER % greedy [95%] | multiply-adds/s | RTF greedy |
    | ----- | ----------- | ------------------ | --------------- | ---------- |
    | test  | 2 (trained) |    9.0 [8.0, 10.0] |          1.00 G |       0.01 |
    """
    compute = info.get("multiply_adds_per_second", {})
    info = {
        **info,
        "multiply_adds_per_second": {loops_label(key): compute[key] for key in compute},
    }
    heading = "Results"
    if info.get("synthetic"):
        heading += " on synthetic speech (not comparable with results on recordings)"
    table = _results_table(rows, info["multiply_adds_per_second"])
    metric = "CER" if "cer" in rows[0] else "WER"
    title = f"{metric} by loop count" + (", synthetic speech" if info.get("synthetic") else "")
    folder = Path(folder)
    report = json.dumps({"results": rows, **info}, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(folder / "report.json", report)
    write_whole(folder / "wer_vs_loops.png", wer_vs_loops(rows, title))
    write_whole(folder / "report.md", _markdown(heading, table, info, worst or {}))
    print(f"{heading}\n\n{table}")
    return table


def _results_table(rows: list[dict], compute: dict[str, int]) -> str:
    """A line per split and loop count, a column per decoder."""
    metric = "cer" if "cer" in rows[0] else "wer"
    decoders = list(dict.fromkeys(row["decoder"] for row in rows))
    decoders.sort(key=lambda name: _DECODERS.index(name) if name in _DECODERS else len(_DECODERS))
    lines = {}
    for row in rows:
        key = (row["split"], loops_label(row["loops"]))
        lines.setdefault(key, {})[row["decoder"]] = row
    cells = []
    for (split, label), by_decoder in lines.items():
        first = next(iter(by_decoder.values()))
        notes = [note for note in ("trained", "supervised") if first[note]]
        rates = [_rate(by_decoder.get(decoder), metric) for decoder in decoders]
        rtfs = [_rtf(by_decoder.get(decoder)) for decoder in decoders]
        loops = f"{label} ({', '.join(notes)})" if notes else label
        adds = f"{compute[label] / 1e9:.2f} G" if label in compute else "-"
        cells.append([split, loops, *rates, adds, " / ".join(rtfs)])
    heads = [f"{metric.upper()} % {decoder} [95%]" for decoder in decoders]
    head = ["split", "loops", *heads, "multiply-adds/s", f"RTF {' / '.join(decoders)}"]
    return markdown_table(head, cells)


def _rate(row: dict | None, metric: str) -> str:
    return f"{row[metric]:.1f} [{row['low']:.1f}, {row['high']:.1f}]" if row else "-"


def _rtf(row: dict | None) -> str:
    return "-" if row is None or row["rtf"] is None else f"{row['rtf']:.3g}"


def _markdown(heading: str, table: str, info: dict, worst: dict[str, list[dict]]) -> str:
    plain = {key: value for key, value in info.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in info.items() if isinstance(value, dict)}
    nested.pop("multiply_adds_per_second")  # a column of the table
    parts = [f"# {heading}", table, "![Error rate by loop count](wer_vs_loops.png)"]
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
    """A Markdown table that reads as well in a terminal.

    Arguments
    ---------
    head : sequence of str
        Titles of the columns.
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
