"""``compare`` and ``analyze bins``: differences between two runs."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from speechbrain_recursive.errors import UserError


def add(commands: _SubParsersAction) -> None:
    """Add ``compare`` to argparse's subparsers."""
    pair = commands.add_parser(
        "compare", help="is one run better than another: MAPSSWE, bootstrap of the difference"
    )
    _add_runs(pair)
    pair.set_defaults(run=_compare)


def add_bins(analyses: _SubParsersAction) -> None:
    """Add ``bins`` to argparse's subparsers."""
    bins = analyses.add_parser(
        "bins", help="where a run is better: by error rate of the first, by length of transcript"
    )
    _add_runs(bins)
    bins.set_defaults(run=_bins)


def _add_runs(parser):
    parser.add_argument("first", metavar="RUN_A", help="results folder")
    parser.add_argument("second", metavar="RUN_B", help="results folder; the same one for other loops")
    parser.add_argument("--decoder", help="name of a decoder (default: the first of RUN_A's report)")
    parser.add_argument(
        "--loops",
        nargs="+",
        metavar="N",
        help="loop count, or another label of a depth: of both, or one for each (default: as trained)",
    )
    parser.add_argument("--split", help="one test set (default: all that both have)")
    parser.add_argument("--output_folder", metavar="FOLDER", help="default: RUN_B")


def _pairs(arguments):
    from speechbrain_recursive.analysis.pairs import read_pairs

    if arguments.loops and len(arguments.loops) > 2:
        raise UserError(f"--loops takes one count or two, not {len(arguments.loops)}")
    runs = (arguments.first, arguments.second)
    return read_pairs(*runs, arguments.decoder, arguments.loops, arguments.split)


def _compare(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.comparison import compare, comparison_table

    pairs = _pairs(arguments)
    rows = [compare(pair) for pair in pairs]
    _write(arguments, "compare", pairs, [comparison_table(rows)], rows)


def _bins(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.bins import NOTE, bins_table, compare_by_bins
    from speechbrain_recursive.analysis.plots import change_by_bin
    from speechbrain_recursive.files import write_whole

    pairs = _pairs(arguments)
    parts, results = [], []
    for pair in pairs:
        found = compare_by_bins(pair)
        tokens = "characters" if pair.metric == "cer" else "words"
        titles = {"error": f"{pair.metric.upper()} % of A", "length": tokens}
        parts.append(f"{pair.split}, depth {pair.labels[0]} (A) and {pair.labels[1]} (B)")
        parts += [bins_table(found[kind], titles[kind], pair.metric) for kind in titles]
        panels = {f"{titles[kind]}, by utterance": found[kind] for kind in titles}
        image = _output(arguments, f"bins_{pair.split}", ".png")
        write_whole(image, change_by_bin(panels, pair.metric, f"{pair.split}: change from A to B"))
        parts.append(f"![{pair.split}]({image.name})")
        results.append({"split": pair.split, "labels": list(pair.labels), **found})
    _write(arguments, "bins", pairs, [*parts, NOTE], results)


def _output(arguments, kind, ending):
    folder = Path(arguments.output_folder or arguments.second)
    return folder / f"{kind}_{Path(arguments.first).resolve().name}{ending}"


def _write(arguments, kind, pairs, parts, results):
    """Print an analysis and write it as Markdown and JSON."""
    from speechbrain_recursive.files import write_whole

    facts = {"first": arguments.first, "second": arguments.second, "decoder": pairs[0].decoder}
    legend = f"A: {arguments.first}, B: {arguments.second}; decoder: {pairs[0].decoder}"
    text = "\n\n".join([legend, *parts]) + "\n"
    write_whole(_output(arguments, kind, ".md"), text)
    write_whole(_output(arguments, kind, ".json"), json.dumps(facts | {"results": results}, indent=1))
    print(text)
