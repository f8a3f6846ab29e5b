"""``transcribe``: transcripts of audio files."""

import sys
from argparse import ArgumentTypeError, Namespace, _SubParsersAction
from shutil import get_terminal_size

from speechbrain_recursive.cli.options import add_depth, add_trust
from speechbrain_recursive.errors import UserError

FORMATS = {"json": "with the times of words", "srt": "as subtitles", "vtt": "as subtitles for the web"}


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    text = commands.add_parser("transcribe", help="transcripts of audio files")
    text.add_argument("model", metavar="MODEL", help="results folder of a finished run, or USER/NAME")
    paths = "audio files, folders, patterns, or - for the standard input (audio, or a list of paths)"
    text.add_argument("paths", nargs="+", metavar="PATH", help=paths)
    add_depth(text)
    add_trust(text)
    text.add_argument("--revision", help="commit, tag or branch of a model on the Hub (default: main)")
    text.add_argument(
        "--adaptive", action="store_true", help="exit early by the threshold that calibrate chose"
    )
    text.add_argument(
        "--decoder", help="one of the run's decoders (default: the best of its report at this depth)"
    )
    text.add_argument(
        "--channels",
        type=_channels,
        default="average",
        metavar="average|each|N",
        help="average them (default), transcribe each, or channel N, counted from 0",
    )
    text.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    text.add_argument(
        "--batch_seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="limit on the padded duration of a batch (default: 60)",
    )
    text.add_argument(
        "--streaming",
        action="store_true",
        help="chunk by chunk, as if it was spoken now; a terminal shows the words as they are heard",
    )
    text.add_argument(
        "--chunk_size", type=int, metavar="FRAMES", help="of a chunk (default: that of the run)"
    )
    for name, what in FORMATS.items():
        text.add_argument(f"--{name}", action="store_true", help=f"write transcripts {what}")
    text.add_argument(
        "--out_dir",
        metavar="FOLDER",
        help="write a file for each recording there, and skip recordings that are finished",
    )
    text.set_defaults(run=_run)


def _channels(text):
    if text in ("average", "each"):
        return text
    if text.isdecimal():
        return int(text)
    raise ArgumentTypeError(f"{text!r} is neither average nor each nor a number from 0 on")


def _run(arguments: Namespace, _: list[str]) -> int:
    """The exit code: 1 if a file could not be transcribed; the others are."""
    from speechbrain_recursive.inference.archive import FORMATS as WRITE
    from speechbrain_recursive.inference.archive import Archive, end_together, find, own_device
    from speechbrain_recursive.inference.streaming import StreamingASR
    from speechbrain_recursive.inference.transcribe import RecursiveASR

    formats = [name for name in FORMATS if getattr(arguments, name)]
    sources, here = find(arguments.paths)
    if arguments.out_dir is None and formats[:1] not in ([], ["json"]) and len(sources) > 1:
        raise UserError(f"--{formats[0]}: several files need an --out_dir")
    if arguments.out_dir is None and len(formats) > 1:
        raise UserError(f"--{' --'.join(formats)}: several formats need an --out_dir")
    if arguments.chunk_size is not None and not arguments.streaming:
        raise UserError("--chunk_size is that of --streaming")
    if arguments.adaptive and arguments.streaming:
        raise UserError("--adaptive looks at whole utterances: leave it or --streaming out")
    given = {
        "run_opts": {"device": own_device(arguments.device)},
        "decoder": arguments.decoder,
        "trust": arguments.trust,
        "revision": arguments.revision,
    }
    if arguments.streaming:
        asr = StreamingASR.from_hparams(arguments.model, chunk_size=arguments.chunk_size, **given)
    else:
        asr = RecursiveASR.from_hparams(arguments.model, adaptive=arguments.adaptive, **given)
    depth = arguments.loops, arguments.depth
    archive = None
    if arguments.out_dir is not None:
        settings = asr.settings(*depth) | {"channels": arguments.channels}
        archive = Archive(arguments.out_dir, sources, formats or ["txt"], settings)
        here = archive.left(here, arguments.channels)
    how = {"watch": _show} if arguments.streaming else {"batch_seconds": arguments.batch_seconds}
    code = 0
    for found in asr.transcribe(here, *depth, channels=arguments.channels, **how):
        if found.error is not None:
            print(f"error: {found.error}", file=sys.stderr, flush=True)
            code = 1
        elif archive is not None:
            print(*archive.write(found, asr.separator), sep="\n", flush=True)
        elif formats:
            print(WRITE[formats[0]](found, asr.separator), end="", flush=True)
        else:
            print(f"{found.name}\t{found.text}", flush=True)
    return end_together(code)


def _show(heard):
    """Show the end of what was heard so far in one line of a terminal."""
    if sys.stderr.isatty():
        width = get_terminal_size().columns - 1
        print(f"\r{heard.text[-width:]:<{width}}\r", end="", file=sys.stderr, flush=True)
