"""``calibrate``: adaptive exit, its threshold and what it saves."""


def add(commands):
    """Add the command to argparse's subparsers."""
    exits = commands.add_parser("calibrate", help="choose the threshold of adaptive exit on a dev set")
    exits.add_argument("model", metavar="RUN", help="results folder of a finished run")
    exits.add_argument("--criterion", default="kl", help="kl (default), cosine or entropy")
    exits.add_argument(
        "--allowed", type=float, default=0.5, help="points by which WER may rise (default: 0.5)"
    )
    exits.add_argument("--loops", type=int, help="full depth (default: the one trained for)")
    exits.add_argument("--split", help="a set of the run (default: its first dev set)")
    exits.set_defaults(run=_run)


def _run(arguments, _):
    from speechbrain_recursive.inference.calibrate import as_text, calibrate

    print(
        as_text(
            calibrate(
                arguments.model,
                arguments.criterion,
                arguments.allowed,
                arguments.split,
                arguments.loops,
            )
        )
    )
