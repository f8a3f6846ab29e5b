"""Reading weights: safetensors files and PyTorch's, strictly, as tensors and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import check_file

NAMES = ("model.safetensors", "model.ckpt")


def weights_in(folder: str | Path) -> Path:
    """The weights of a folder: ``model.safetensors``, or else ``model.ckpt``, which need not exist.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder or one that was published.

    Example
    -------
    >>> weights_in("results/mini/1234").name
    'model.ckpt'
    """
    first, last = (Path(folder) / name for name in NAMES)
    return first if first.exists() else last


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict.

    Arguments
    ---------
    path : str or pathlib.Path
        A file of tensors by key: of ``safetensors``, if its name ends so, or of ``torch.save``. Nothing
        in it is executed.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    UserError
        If the file is missing or holds something else, such as a pickled object.
    """
    path = check_file(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if all(isinstance(value, torch.Tensor) for value in {**state}.values()):
            return state
        cause = None
    except OSError:
        raise
    except Exception as error:  # whatever damaged bytes make the readers raise
        cause = error
    raise UserError(f"{path} holds no weights") from cause


def load_weights(path: str | Path, into: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Read a state dict and pass it on.

    Arguments
    ---------
    path : str or pathlib.Path
        See :func:`read_weights`.
    into : callable
        Takes the state dict, such as a model's ``load_state_dict``.

    Raises
    ------
    UserError
        If :func:`read_weights` raises it, or keys or shapes do not match the model's.
    """
    state = read_weights(path)
    try:
        into(state)
    except RuntimeError as error:
        # one line each for missing keys, unexpected keys and other shapes
        said = "; ".join(one_line(line, width=300) for line in str(error).splitlines()[1:] or [error])
        raise UserError(f"{path} does not hold this model's weights: {one_line(said, 900)}") from error
