"""``analyze sensitivity``: error rates with each layer left out."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from speechbrain_recursive.cli.options import add_depth, add_trust


def add_sensitivity(analyses: _SubParsersAction) -> None:
    """Add ``sensitivity`` to argparse's subparsers."""
    parser = analyses.add_parser(
        "sensitivity", help="error rates with each layer left out, and the layers to keep"
    )
    parser.add_argument("model", metavar="RESULTS", help="results folder")
    parser.add_argument("--split", help="the set to decode (default: the first dev set)")
    add_depth(parser)
    add_trust(parser)
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument("--output_folder", metavar="FOLDER", help="default: the results folder")
    parser.set_defaults(run=_sensitivity)


def _sensitivity(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.layer_plots import error_without_layers
    from speechbrain_recursive.analysis.sensitivity import sensitivity_report
    from speechbrain_recursive.files import write_whole
    from speechbrain_recursive.inference.sensitivity import sensitivity

    options = arguments.split, arguments.loops, arguments.depth, arguments.device, arguments.trust
    found = sensitivity(arguments.model, *options)
    folder, text = Path(arguments.output_folder or arguments.model), sensitivity_report(found)
    write_whole(folder / "sensitivity.png", error_without_layers(found))
    write_whole(folder / "sensitivity.md", f"{text}\n\n![Sensitivity](sensitivity.png)\n")
    write_whole(folder / "sensitivity.json", json.dumps(found, indent=1))
    print(text)
