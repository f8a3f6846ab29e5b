"""``calibrate``: the threshold of adaptive exit, and how much computation it saves."""

from argparse import Namespace, _SubParsersAction

from speechbrain_recursive.cli.options import add_depth, add_trust


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    exits = commands.add_parser("calibrate", help="choose the threshold of adaptive exit on a dev set")
    exits.add_argument("model", metavar="RUN", help="results folder of a finished run")
    exits.add_argument("--criterion", default="kl", help="kl (default), cosine or entropy")
    exits.add_argument(
        "--allowed",
        type=float,
        default=0.5,
        help="allowed increase of WER in percentage points (default: 0.5)",
    )
    add_depth(exits)
    add_trust(exits)
    exits.add_argument("--split", help="a set of the run (default: its first dev set)")
    exits.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    exits.set_defaults(run=_run)


def _run(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.inference.calibrate import as_text, calibrate

    options = (arguments.criterion, arguments.allowed, arguments.split)
    depth = {"loops": arguments.loops, "depth": arguments.depth}
    print(
        as_text(
            calibrate(arguments.model, *options, **depth, device=arguments.device, trust=arguments.trust)
        )
    )
