"""``cache-teacher``: the states of a recipe's BERT in a file, before the training."""

from argparse import Namespace, _SubParsersAction


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    cache = commands.add_parser(
        "cache-teacher",
        help="run a recipe's BERT over its transcripts; a run that was killed goes on where it was",
    )
    cache.add_argument(
        "recipe",
        metavar="YAML",
        help="the recipe; give --teacher_cache FOLDER, and any --key value that its training gets",
    )
    cache.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    cache.set_defaults(run=_run, takes_overrides=True)


def _run(arguments: Namespace, words: list[str]) -> None:
    from speechbrain_recursive.training.caching import cache_teacher

    folder, added = cache_teacher(arguments.recipe, words, arguments.device)
    print(f"Teacher's cache: {folder} ({added} utterances added)")
