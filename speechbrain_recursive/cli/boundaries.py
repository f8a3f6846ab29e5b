"""``analyze boundaries``: how far the boundaries of CIF's tokens are from the true ones."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from speechbrain_recursive.cli.options import add_trust


def add_boundaries(analyses: _SubParsersAction) -> None:
    """Add ``boundaries`` to argparse's subparsers."""
    ends = analyses.add_parser(
        "boundaries", help="how far the ends of words are from the true ones, for a CIF model"
    )
    ends.add_argument("model", metavar="RESULTS", help="results folder of a run on synthetic speech")
    ends.add_argument("--split", help="a set of the run (default: its first test set)")
    ends.add_argument(
        "--utterances", type=int, default=200, help="maximum number, evenly spaced (default: 200)"
    )
    ends.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    add_trust(ends)
    ends.set_defaults(run=_boundaries)


def _boundaries(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.files import write_whole
    from speechbrain_recursive.inference.boundaries import boundary_errors

    options = arguments.split, arguments.utterances, arguments.device, arguments.trust
    found = boundary_errors(arguments.model, *options)
    write_whole(Path(arguments.model) / "boundaries.json", json.dumps(found, indent=1))
    print(
        f"{found['boundaries']} boundaries in {found['utterances'] - found['skipped']} utterances of "
        f"{found['split']}: mean absolute error {found['error']:.0f} ms, mean shift "
        f"{found['shift']:+.0f} ms; {found['even']:.0f} ms if spread evenly"
    )
