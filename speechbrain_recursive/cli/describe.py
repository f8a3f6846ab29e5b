"""``describe``: what a recipe's ASR model costs, or its whole configuration."""

import json
from argparse import Namespace, _SubParsersAction

from speechbrain_recursive.cli.options import add_trust


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    about = commands.add_parser("describe", help="what a recipe's ASR model costs, without a corpus")
    about.add_argument(
        "recipe",
        metavar="YAML",
        help="the recipe, or a results folder; any --key value overrides its top-level keys",
    )
    about.add_argument("--depth", type=int, help="logical depth (default: the recipe's)")
    form = about.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument(
        "--yaml", action="store_true", help="print the recipe merged with its bases and overrides"
    )
    add_trust(about)
    about.set_defaults(run=_run, takes_overrides=True)


def _run(arguments: Namespace, words: list[str]) -> None:
    from speechbrain_recursive.hparams import merge
    from speechbrain_recursive.inference.describe import as_text, describe, settings_of
    from speechbrain_recursive.merging import dump

    if arguments.yaml:
        given = [] if arguments.depth is None else ["--depth", str(arguments.depth)]
        path, trust = settings_of(arguments.recipe, arguments.trust)
        print(dump(merge(path, [*words, *given], trust)), end="")
        return
    facts = describe(arguments.recipe, words, arguments.depth, arguments.trust)
    print(json.dumps(facts) if arguments.json else as_text(facts))
