"""``analyze paths``: error rates of all ways to each logical depth, beside models of one depth."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from speechbrain_recursive.cli.options import add_trust


def add_paths(analyses: _SubParsersAction) -> None:
    """Add ``paths`` to argparse's subparsers."""
    paths = analyses.add_parser(
        "paths", help="all ways to repeat layers up to a depth, and the median one for --depth"
    )
    paths.add_argument("models", nargs="+", metavar="RESULTS", help="results folders of foldable models")
    paths.add_argument(
        "--depths",
        nargs="+",
        type=int,
        metavar="N",
        help="logical depths (default: all from one loop of each block to the trained depth)",
    )
    paths.add_argument(
        "--paths", type=int, metavar="N", help="maximum number for each depth, at random (default: all)"
    )
    paths.add_argument("--seed", type=int, default=0, help="of the draw of paths (default: 0)")
    paths.add_argument(
        "--beside", nargs="+", default=[], metavar="RESULTS", help="models trained for one depth each"
    )
    paths.add_argument(
        "--seeds", action="store_true", help="average runs whose folders differ in the last name alone"
    )
    paths.add_argument("--split", help="a set of the runs (default: the first test set)")
    paths.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    paths.add_argument("--output_folder", metavar="FOLDER", help="default: the last of RESULTS")
    add_trust(paths)
    paths.set_defaults(run=_paths)


def _paths(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.paths import error_by_path, paths_table
    from speechbrain_recursive.files import write_whole
    from speechbrain_recursive.inference.paths import measure_side_by_side

    options = arguments.depths, arguments.paths, arguments.split, arguments.seed, arguments.device
    folders, seeds = (arguments.models, arguments.beside), arguments.seeds
    found = measure_side_by_side(*folders, *options, seeds=seeds, trust=arguments.trust)
    models, alone = found["models"], found["beside"]
    title = f"Greedy decoding of {found['split']} by the paths to each logical depth"
    table = paths_table(models, alone, arguments.seeds)
    over = "paths and seeds" if arguments.seeds else "paths"
    text = (
        f"{title}\n\n{table}\n\nThe median path is that of {found['chosen_on']}, and --depth takes it. "
        f"The deviation is over {over}.\n"
    )
    folder = Path(arguments.output_folder or arguments.models[-1])
    write_whole(folder / "paths.png", error_by_path(models, alone, title))
    write_whole(folder / "paths.md", f"{text}\n![Paths](paths.png)\n")
    write_whole(folder / "paths.json", json.dumps(found, indent=1))
    print(text, end="")
