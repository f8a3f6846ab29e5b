"""``describe``: what a recipe's ASR model costs."""

import json

from speechbrain_recursive.errors import UserError


def add(commands):
    """Add the command to argparse's subparsers."""
    about = commands.add_parser("describe", help="what a recipe's ASR model costs, without a corpus")
    about.add_argument("yaml", help="the recipe; any --key value overrides its top-level keys")
    about.add_argument("--json", action="store_true", help="print one JSON object")
    about.set_defaults(run=_run, takes_overrides=True)


def _run(arguments, rest):
    from speechbrain_recursive.inference.describe import as_text, describe

    facts = describe(arguments.yaml, _overrides(rest))
    print(json.dumps(facts) if arguments.json else as_text(facts))


def _overrides(words):
    """``--key value`` pairs as a dict, values read as YAML."""
    from speechbrain_recursive.hparams import parse_overrides

    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise UserError(f"overrides are pairs of --key value, not: {' '.join(words)}")
    pairs = zip(words[::2], words[1::2], strict=True)
    return parse_overrides("\n".join(f"{key[2:]}: {value}" for key, value in pairs))
