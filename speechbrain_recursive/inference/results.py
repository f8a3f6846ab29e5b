"""Opening the results folder of a finished run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text
from speechbrain_recursive.hparams import load_trained, require
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.device import check_device
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.schedule import Schedule
from speechbrain_recursive.safety import SETTINGS

MEDIAN_PATHS = "median_paths.json"


def open_results(
    folder: str | Path, device: str = "cpu", trust: bool = False
) -> tuple[ASRModel, Pieces, dict[str, Any]]:
    """Load the model and the tokenizer of a finished run.

    Arguments
    ---------
    folder : str or pathlib.Path
        With ``hyperparams.yaml``, ``tokenizer.json`` and ``model.safetensors`` or ``model.ckpt``.
    device : str
        Where the model runs.
    trust : bool
        Whether the folder's YAML may name any code; see
        :func:`~speechbrain_recursive.hparams.load_trained`.

    Returns
    -------
    ASRModel
        In eval mode.
    CharacterTokenizer or SentencePieceTokenizer
        With as many pieces as the model has outputs.
    dict
        All hyperparameters.

    Raises
    ------
    UserError
        If there is no such device, the folder holds no finished run or no ASR model or names what it may
        not, its weights do not fit its YAML, or its tokenizer does not fit its model.
    """
    check_device(device)
    model, hparams = load_trained(folder, ASRModel, trust)
    require(hparams, ("corpus", "task", "n_tokens"), Path(folder) / SETTINGS)
    path = Path(folder) / "tokenizer.json"
    tokenizer = load_tokenizer(path)
    if len(tokenizer) != hparams["n_tokens"]:
        raise UserError(
            f"{path} has {len(tokenizer)} pieces, but the model has {hparams['n_tokens']} outputs: put "
            "back the tokenizer that the model was trained with"
        )
    return model.to(device), tokenizer, hparams


def depth_for(
    model: ASRModel,
    loops: int | None = None,
    depth: int | None = None,
    folder: str | Path | None = None,
) -> Depth:
    """The depth that the command line names; without a name the schedule's own.

    Arguments
    ---------
    model : ASRModel
        What runs.
    loops : int, optional
        Loop count of all blocks that recur.
    depth : int, optional
        Logical depth: by the median path that ``analyze paths`` stored in the folder, if there is one,
        else by the first path, see :meth:`~speechbrain_recursive.nn.schedule.Schedule.paths`.
    folder : str or pathlib.Path, optional
        The model's results folder.

    Raises
    ------
    UserError
        If both are given, the count is below 1, no block recurs, no path has this depth, or the stored
        paths are damaged.
    """
    if None not in (loops, depth):
        raise UserError(f"--loops {loops} and --depth {depth}: give one of them")
    try:
        if depth is None:
            return model.depth(loops)
        stored = median_paths(folder, model.schedule) if folder else {}
        return stored.get(depth) or Depth(model.schedule.with_depth(depth))
    except ValueError as error:
        raise UserError(f"{asked(loops, depth)}: {error}") from error


def asked(loops: int | None, depth: int | None) -> str:
    """How the command line asks for a depth, for messages."""
    return f"--loops {loops}" if depth is None else f"--depth {depth}"


def median_paths(folder: str | Path, schedule: Schedule) -> dict[int, Depth]:
    """Read the paths that ``analyze paths`` stored in a results folder.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.
    schedule : Schedule
        The model's own.

    Returns
    -------
    dict of int to Depth
        By logical depth; empty if the paths were not analyzed.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    path = Path(folder) / MEDIAN_PATHS
    if not path.is_file():
        return {}
    try:
        found = {int(n): Depth.of(schedule, c) for n, c in json.loads(read_text(path))["paths"].items()}
        if any(len(each) != n for n, each in found.items()):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} holds no paths of this model, or it is damaged: run speechbrain-recursive analyze "
            f"paths {folder}"
        ) from None
    return found


def short_names(folders: Sequence[str | Path]) -> list[str]:
    """Names that tell results folders apart: without what all their paths begin and end with.

    Arguments
    ---------
    folders : sequence of (str or pathlib.Path)
        Results folders.

    Returns
    -------
    list of str
        A single folder keeps its whole name.

    Raises
    ------
    UserError
        If a folder is named twice.

    Example
    -------
    >>> short_names(["results/teacher/1234", "results/cycle/1234"])
    ['teacher', 'cycle']
    """
    if len(folders) == 1:
        return [str(folders[0])]
    paths = [list(Path(folder).resolve().parts) for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        if paths.count(path) > 1:
            raise UserError(f"{folder} is named twice")
    for end in (0, -1):
        while min(map(len, paths)) > 1 and len({path[end] for path in paths}) == 1:
            for path in paths:
                del path[end]
    return ["/".join(path) for path in paths]
