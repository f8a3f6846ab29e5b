"""Describe, run and compare ASR models. Training is each recipe's ``train.py``."""

import argparse
import sys
from collections.abc import Sequence

from speechbrain_recursive.cli import analyze, calibrate, compare, describe, transcribe
from speechbrain_recursive.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Arguments
    ---------
    argv : list of str, optional
        The command line without the name of the program.

    Returns
    -------
    int
        0, or 1 after a :class:`UserError`, which is printed as one line.
    """
    parser = argparse.ArgumentParser(prog="speechbrain-recursive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (describe, transcribe, compare, analyze, calibrate):
        command.add(commands)
    parser.set_defaults(takes_overrides=False)
    arguments, rest = parser.parse_known_args(argv)
    if rest and not arguments.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        arguments.run(arguments, rest)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
