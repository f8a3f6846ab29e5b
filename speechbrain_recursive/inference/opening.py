"""Results folders of ASR models, opened for use."""

from pathlib import Path
from typing import Any

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.nn.model import ASRModel


def open_asr(folder: str | Path) -> tuple[ASRModel, dict[str, Any]]:
    """Open the results folder of an ASR model.

    Arguments
    ---------
    folder : str or pathlib.Path
        What a finished run left. Loading a YAML file runs what it says, so the folder must be one that
        you trust.

    Returns
    -------
    ASRModel
        With the weights that were evaluated, in eval mode.
    dict
        All hyperparameters.

    Raises
    ------
    UserError
        If the folder holds no finished run or no ASR model, or its weights are not those of its YAML.
    """
    model, hparams = load_trained(folder)
    if not isinstance(model, ASRModel):
        raise UserError(f"{folder} holds no ASR model, but a {type(model).__name__}")
    return model, hparams
