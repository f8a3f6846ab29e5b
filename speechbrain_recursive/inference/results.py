"""Opening the results folder of a finished run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.device import check_device
from speechbrain_recursive.nn.model import ASRModel


def open_results(folder: str | Path, device: str = "cpu") -> tuple[ASRModel, Pieces, dict[str, Any]]:
    """Load the model and the tokenizer of a finished run.

    Arguments
    ---------
    folder : str or pathlib.Path
        With ``hyperparams.yaml``, ``model.ckpt`` and ``tokenizer.json``. Loading a YAML file can run any
        code that it names, so open only folders that you trust.
    device : str
        Where the model runs.

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
        If there is no such device, the folder holds no finished run or no ASR model, its weights do not
        fit its YAML, or its tokenizer does not fit its model.
    """
    check_device(device)
    model, hparams = load_trained(folder, ASRModel)
    path = Path(folder) / "tokenizer.json"
    tokenizer = load_tokenizer(path)
    if len(tokenizer) != hparams["n_tokens"]:
        raise UserError(
            f"{path} has {len(tokenizer)} pieces, but the model has {hparams['n_tokens']} outputs: put "
            "back the tokenizer that the model was trained with"
        )
    return model.to(device), tokenizer, hparams


def depth_for(model: ASRModel, loops: int | None) -> Depth:
    """The depth of a run with the loop count that the command line names; None is the schedule's own.

    Raises
    ------
    UserError
        If the count is below 1, or no block recurs.
    """
    try:
        return model.depth(loops)
    except ValueError as error:
        raise UserError(f"--loops {loops}: {error}") from error


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
