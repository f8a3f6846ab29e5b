"""``analyze probe``: how well phonemes can be read from the states after each logical step."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from speechbrain_recursive.cli.options import add_trust


def add_probe(analyses: _SubParsersAction) -> None:
    """Add ``probe`` to argparse's subparsers."""
    probe = analyses.add_parser(
        "probe", help="how well the phoneme of each frame can be read after each logical step"
    )
    probe.add_argument("models", nargs="+", metavar="RESULTS", help="results folders, side by side")
    probe.add_argument(
        "--labels",
        metavar="FILE",
        help="CSV of ID,start,end,phoneme, in seconds (default: that of the corpus, if it is synthetic)",
    )
    probe.add_argument("--split", help="a set of the first run (default: its first test set)")
    probe.add_argument(
        "--utterances", type=int, default=200, help="maximum number, evenly spaced (default: 200)"
    )
    probe.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    probe.add_argument("--output_folder", metavar="FOLDER", help="default: the last of the results")
    add_trust(probe)
    probe.set_defaults(run=_probe)


def _probe(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.plots import accuracy_by_step
    from speechbrain_recursive.analysis.probe import probe_table
    from speechbrain_recursive.files import write_whole
    from speechbrain_recursive.inference.probe import probe_models

    options = arguments.labels, arguments.split, arguments.utterances, arguments.device, arguments.trust
    found = probe_models(arguments.models, *options)
    title = f"Phonemes that a linear probe reads, {found['split']}"
    text = (
        f"{title}: {found['phonemes']} phonemes in {found['frames']} frames of {found['utterances']} "
        "utterances; accuracy in % after each step, with its layer and 95% interval\n\n"
        f"{probe_table(found['models'])}\n\n"
        f"Without any state: {found['majority']:.1f}\n"
    )
    folder = Path(arguments.output_folder or arguments.models[-1])
    image = accuracy_by_step(found["models"], f"{title} (without any state: {found['majority']:.1f}%)")
    write_whole(folder / "probe.png", image)
    write_whole(folder / "probe.md", f"{text}\n![Probe](probe.png)\n")
    write_whole(folder / "probe.json", json.dumps(found, indent=1))
    print(text, end="")
