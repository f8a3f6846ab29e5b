"""``publish``: a finished run's model on the Hugging Face Hub."""

from argparse import Namespace, _SubParsersAction

from speechbrain_recursive.cli.options import add_trust


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    text = commands.add_parser("publish", help="upload a finished run's model to the Hugging Face Hub")
    text.add_argument("results", metavar="RESULTS", help="results folder of a finished run")
    text.add_argument("name", metavar="USER/NAME", help="the model's name on the Hub")
    text.add_argument("--private", action="store_true", help="create it as a private model")
    text.add_argument(
        "--dry-run", action="store_true", help="build the folder and list what would be uploaded"
    )
    add_trust(text)
    text.set_defaults(run=_run)


def _run(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.inference.publish import publish

    done = publish(
        arguments.results, arguments.name, arguments.private, arguments.dry_run, arguments.trust
    )
    for name, size in done["files"].items():
        print(f"{size:>13,}  {name}")
    checked = f"transcripts of {done['sample']} are those of the run"
    print(
        checked
        if done["sample"]
        else "no transcript was compared: the audio of the run's test sets is gone"
    )
    if arguments.dry_run:
        print(f"{done['folder']} would be uploaded to {arguments.name}")
    else:
        print(f"uploaded to {arguments.name}, revision {done['revision']}, and read back")
