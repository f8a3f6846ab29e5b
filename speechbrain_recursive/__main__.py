"""The commands that are not training: ``speechbrain-recursive COMMAND``."""

import argparse
import json
import sys

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

    about = commands.add_parser("describe", help="what a recipe's recogniser costs, without a corpus")
    about.add_argument("yaml", help="the recipe; any --key value overrides its top-level keys")
    about.add_argument("--json", action="store_true", help="print one JSON object")
    about.set_defaults(run=_describe)

    text = commands.add_parser("transcribe", help="the text of audio files")
    text.add_argument("files", nargs="+", metavar="FILE")
    text.add_argument(
        "--model", required=True, metavar="FOLDER", help="results folder of a finished run"
    )
    text.add_argument("--loops", type=int, help="loop count (default: the one trained for)")
    text.set_defaults(run=_transcribe)

    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command != "describe":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        arguments.run(arguments, rest)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _describe(arguments, rest):
    from speechbrain_recursive.inference.describe import as_text, describe

    facts = describe(arguments.yaml, _overrides(rest))
    print(json.dumps(facts) if arguments.json else as_text(facts))


def _transcribe(arguments, rest):
    from speechbrain_recursive.inference.transcribe import Transcriber

    transcriber = Transcriber(arguments.model)
    for path in arguments.files:
        print(f"{path}\t{transcriber(path, arguments.loops)}")


def _overrides(words):
    """``--key value`` pairs as a dict, values read as YAML."""
    from speechbrain_recursive.hparams import parse_overrides

    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise UserError(f"overrides are pairs of --key value, not: {' '.join(words)}")
    pairs = zip(words[::2], words[1::2], strict=True)
    return parse_overrides("\n".join(f"{key[2:]}: {value}" for key, value in pairs))


if __name__ == "__main__":
    sys.exit(main())
