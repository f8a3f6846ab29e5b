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


def add_trust(parser: ArgumentParser) -> None:
    """Add ``--trust``, of commands that build what the YAML of a folder describes."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let the YAML of the folder name any code, such as your own modules",
    )
