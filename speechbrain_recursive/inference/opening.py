"""Results folders of ASR models, opened for use."""

from pathlib import Path
from typing import Any

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.model import ASRModel


def open_asr(folder: str | Path) -> tuple[ASRModel, dict[str, Any]]:
    """Open the results folder of an ASR model.

    Arguments
    ---------
    folder : str or pathlib.Path
        The results of a finished run. Loading a YAML file can run any code that it names, so open only
        folders that you trust.

    Returns
    -------
    ASRModel
        With the weights that were evaluated, in eval mode.
    dict
        All hyperparameters.

    Raises
    ------
    UserError
        If the folder holds no finished run or no ASR model, or its weights do not fit its YAML.
    """
    model, hparams = load_trained(folder)
    if not isinstance(model, ASRModel):
        raise UserError(f"{folder} holds no ASR model, but a {type(model).__name__}")
    return model, hparams


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
