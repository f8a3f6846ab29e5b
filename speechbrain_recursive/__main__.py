"""The commands that are not training: ``speechbrain-recursive COMMAND``."""

import argparse
import sys

from speechbrain_recursive.cli import analyse, calibrate, compare, describe, transcribe
from speechbrain_recursive.errors import UserError


def main(argv=None):
    """Run a command.

    Arguments
    ---------
    argv : list of str, optional
        Command line without the program's name.

    Returns
    -------
    int
        0, or 1 after an error that is printed in one line.
    """
    parser = argparse.ArgumentParser(prog="speechbrain-recursive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (describe, transcribe, compare, analyse, calibrate):
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
