"""``table``: several runs in one table, beside a baseline."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    runs = commands.add_parser("table", help="parameters, depth and error rates of several runs")
    runs.add_argument("runs", nargs="+", metavar="RUN", help="results folder")
    runs.add_argument(
        "--baseline", required=True, metavar="RUN", help="the run that relative reductions refer to"
    )
    runs.add_argument("--decoder", help="name of a decoder (default: the first of each report)")
    runs.add_argument(
        "--seeds", action="store_true", help="average runs whose folders differ in the last name alone"
    )
    runs.add_argument("--output_folder", metavar="FOLDER", help="default: that of the baseline")
    runs.set_defaults(run=_run)


def _run(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.table import read_runs, runs_table
    from speechbrain_recursive.files import write_whole

    runs = read_runs(arguments.runs, arguments.baseline, arguments.decoder, arguments.seeds)
    folder = Path(arguments.output_folder or arguments.baseline)
    base = Path(arguments.baseline).parent if arguments.seeds else arguments.baseline
    text = f"{runs_table(runs)}\n\nRERR: relative error rate reduction from {base}.\n"
    write_whole(folder / "table.md", text)
    write_whole(folder / "table.json", json.dumps(runs, indent=1))
    print(text)
