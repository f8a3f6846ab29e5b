"""Describe, run and compare ASR models. Training is each recipe's ``train.py``."""

import argparse
import os
import sys
from collections.abc import Sequence

from speechbrain_recursive.cli import (
    analyze,
    cache_teacher,
    calibrate,
    compare,
    describe,
    export,
    publish,
    serve,
    table,
    transcribe,
)
from speechbrain_recursive.errors import UserError, of_system

INTERRUPTED, BROKEN_PIPE = 130, 141  # what shells report of SIGINT and SIGPIPE


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line, without the usage before it."""

    def error(self, message):
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Arguments
    ---------
    argv : list of str, optional
        The command line without the name of the program.

    Returns
    -------
    int
        0; 1 after a :class:`UserError` or an error of the operating system, which is printed as one
        line; 130 after Ctrl-C; 141 if what reads the output stops reading.
    """
    parser = _Parser(prog="speechbrain-recursive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (
        describe,
        transcribe,
        compare,
        table,
        analyze,
        calibrate,
        cache_teacher,
        publish,
        export,
        serve,
    ):
        command.add(commands)
    parser.set_defaults(takes_overrides=False)
    arguments, rest = parser.parse_known_args(argv)
    if rest and not arguments.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code = arguments.run(arguments, rest)
        sys.stdout.flush()
        return code or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        return BROKEN_PIPE
    except OSError as error:
        print(f"error: {of_system(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 1


if __name__ == "__main__":
    sys.exit(main())
