"""Options that several commands take."""

from argparse import ArgumentParser


def add_depth(parser: ArgumentParser) -> None:
    """Add ``--loops`` and ``--depth``, of which a user gives one at most."""
    parser.add_argument("--loops", type=int, help="loop count (default: the one trained for)")
    parser.add_argument(
        "--depth",
        type=int,
        help="logical depth in place of a loop count: by its median path of analyze paths, or the first",
    )
