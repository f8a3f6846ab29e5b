"""Several models' layers on the same audio."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from speechbrain_recursive.analysis.grouping import group, student_keys
from speechbrain_recursive.bars import Bar
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.layers import Layers, find_audio, layer_outputs, open_layers
from speechbrain_recursive.inference.results import short_names

Measure = TypeVar("Measure")


def open_side_by_side(
    models: Sequence[str | Path],
    loops: int | None = None,
    device: str = "cpu",
    attention: bool = False,
    depth: int | None = None,
    trust: bool = False,
) -> dict[str, Layers]:
    """Open several encoders; for the arguments, see
    :func:`speechbrain_recursive.inference.layers.open_layers`.

    Returns
    -------
    dict of str to Layers
        By short names.

    Raises
    ------
    UserError
        If one cannot be opened, or is named twice.
    """
    names = short_names(models)
    return {
        name: open_layers(model, loops, device, attention, depth, trust)
        for name, model in zip(names, models, strict=True)
    }


def common_audio(
    models: Iterable[Layers], path: str | Path | None = None, limit: int | None = None
) -> tuple[str, list[str]]:
    """What several models are compared on.

    Arguments
    ---------
    models : iterable of Layers
        The first that has audio of its own gives it, where ``path`` does not.
    path : str or pathlib.Path, optional
        See :func:`find_audio`.
    limit : int, optional
        Maximum number of files.

    Returns
    -------
    str
        Where the audio is from.
    list of str
        The files.

    Raises
    ------
    UserError
        If there is none.
    """
    source = path or next((layers.audio for layers in models if layers.audio), None)
    if source is None:
        raise UserError("--audio is needed: only results folders have audio of their own")
    return str(source), find_audio(source, limit)


def measure_layers(
    models: Mapping[str, Layers],
    files: Sequence[str | Path],
    measure: Callable[[Iterator[torch.Tensor]], Measure],
) -> dict[str, Measure]:
    """Apply a function to what the layers of each model compute.

    Arguments
    ---------
    models : mapping of str to Layers
        By name.
    files : sequence of (str or pathlib.Path)
        Audio files.
    measure : callable
        From the outputs of :func:`speechbrain_recursive.inference.layers.layer_outputs` to its result.

    Returns
    -------
    dict
        The results by name.
    """
    return {
        name: measure(layer_outputs(layers, Bar(files, f"Layers of {name}")))
        for name, layers in models.items()
    }


def model_to_group(
    models: Mapping[str, Layers], n_phonetic: int | None = None, n_student: int | None = None
) -> str | None:
    """Name of the first model without loops, whose layers can be grouped for BiCycle.

    Arguments
    ---------
    models : mapping of str to Layers
        By name.
    n_phonetic : int, optional
        The user's choice of the phonetic group's size.
    n_student : int, optional
        The user's choice of the student's layers.

    Returns
    -------
    str or None
        None if all models have loops.

    Raises
    ------
    UserError
        If there is no such model, or its layers cannot be grouped as the user says.
    """
    name = next((name for name, layers in models.items() if not layers.passes), None)
    if name is None and (n_phonetic, n_student) != (None, None):
        raise UserError("--n_phonetic, --student_layers: all models have loops; name a teacher as well")
    if n_phonetic is not None:
        student_keys(group(np.zeros((len(models[name].labels), 1)), n_phonetic), n_student)
    return name
