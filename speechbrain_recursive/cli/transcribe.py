"""``transcribe``: the text of audio files."""


def add(commands):
    """Add the command to argparse's subparsers."""
    text = commands.add_parser("transcribe", help="the text of audio files")
    text.add_argument("files", nargs="+", metavar="FILE")
    text.add_argument(
        "--model", required=True, metavar="FOLDER", help="results folder of a finished run"
    )
    text.add_argument("--loops", type=int, help="loop count (default: the one trained for)")
    text.add_argument(
        "--adaptive", action="store_true", help="leave early by the run's calibration (see calibrate)"
    )
    text.set_defaults(run=_run)


def _run(arguments, _):
    from speechbrain_recursive.inference.transcribe import Transcriber

    transcriber = Transcriber(arguments.model, arguments.adaptive)
    for path in arguments.files:
        print(f"{path}\t{transcriber(path, arguments.loops)}")
