"""``transcribe``: transcripts of audio files."""

from argparse import Namespace, _SubParsersAction


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    text = commands.add_parser("transcribe", help="transcripts of audio files")
    text.add_argument("files", nargs="+", metavar="FILE")
    text.add_argument(
        "--model", required=True, metavar="FOLDER", help="results folder of a finished run"
    )
    text.add_argument("--loops", type=int, help="loop count (default: the one trained for)")
    text.add_argument(
        "--adaptive", action="store_true", help="exit early by the threshold that calibrate chose"
    )
    text.set_defaults(run=_run)


def _run(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.inference.transcribe import Transcriber

    transcriber = Transcriber(arguments.model, arguments.adaptive)
    for path in arguments.files:
        print(f"{path}\t{transcriber(path, arguments.loops)}")
