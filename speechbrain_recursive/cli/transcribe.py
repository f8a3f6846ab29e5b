"""``transcribe``: transcripts of audio files."""

import sys
from argparse import Namespace, _SubParsersAction

from speechbrain_recursive.cli.options import add_depth, add_trust
from speechbrain_recursive.errors import UserError


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    text = commands.add_parser("transcribe", help="transcripts of audio files")
    text.add_argument("files", nargs="+", metavar="FILE")
    text.add_argument(
        "--model", required=True, metavar="FOLDER", help="results folder of a finished run"
    )
    add_depth(text)
    add_trust(text)
    text.add_argument(
        "--adaptive", action="store_true", help="exit early by the threshold that calibrate chose"
    )
    text.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    text.set_defaults(run=_run)


def _run(arguments: Namespace, _: list[str]) -> int:
    """The exit code: 1 if a file could not be transcribed; the others are."""
    from speechbrain_recursive.inference.transcribe import Transcriber

    transcriber = Transcriber(arguments.model, arguments.adaptive, arguments.device, arguments.trust)
    asked = arguments.loops, arguments.depth
    transcriber.depth(*asked)  # what is wrong with every file is said once
    code = 0
    for path in arguments.files:
        try:
            print(f"{path}\t{transcriber(path, *asked)}", flush=True)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 1
    return code
