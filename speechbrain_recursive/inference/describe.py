"""What a recipe's ASR model costs, without a corpus and without allocating its weights."""

import math
from pathlib import Path
from typing import Any

from speechbrain_recursive.analysis.cost import (
    count_parameters,
    multiply_adds_per_second,
    training_step_activation_bytes,
)
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load, merge, require
from speechbrain_recursive.inference.results import depth_for
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.overrides import Overrides, parse_overrides
from speechbrain_recursive.safety import SETTINGS, in_folder

LONG = 16  # seconds of a long utterance, as most of LibriSpeech's are


def describe(
    path: str | Path, overrides: Overrides = None, depth: int | None = None, trust: bool = False
) -> dict[str, Any]:
    """Describe a recipe's ASR model for ten seconds of audio in a batch of one.

    Arguments
    ---------
    path : str or pathlib.Path
        A recipe's YAML file, or a results folder or a published one, or its ``hyperparams.yaml``. Of a
        published model there is no ``training``.
    overrides : str, list of str or dict, optional
        Values that replace the file's own, such as ``{"loops": 8}`` or ``["--loops", "8"]``.
    depth : int, optional
        Another logical depth than the schedule's own, by its first path; see
        :meth:`~speechbrain_recursive.nn.schedule.Schedule.paths`.
    trust : bool
        Whether the YAML of a folder may name any code, as a recipe may; see
        :func:`~speechbrain_recursive.hparams.load`.

    Returns
    -------
    dict
        ``schedule`` (str), ``physical_layers``, ``logical_depth``, ``parameters`` (by part, with
        ``encoder`` and ``total``), ``multiply_adds_per_second`` of audio,
        ``peak_activation_bytes`` of training on it, and ``training``: the ``seconds`` of a batch as the
        file limits it, in utterances of 16 s; its ``activation_bytes`` in float32; ``state_bytes`` of
        weights, gradients and Adam's averages; and ``batches_per_step``.

    Raises
    ------
    UserError
        If the file cannot be loaded, or describes no ASR model, or no path has this depth, or a loop
        count is given beside it.
    """
    path, trust = settings_of(path, trust)
    given, published = parse_overrides(overrides), "objective" not in merge(path, None, trust)
    if not published:  # a run needs these, and the model does not depend on them
        given = {"output_folder": "results", "data_folder": "data", **given}
    if depth is not None and "loops" in given:
        raise UserError(f"--loops {given['loops']} and --depth {depth}: give one of them")
    hparams, _ = load(path, given, device="meta", trust=trust)
    require(hparams, ["model"], path)
    model = hparams["model"]
    if not isinstance(model, ASRModel):
        raise UserError(f"{path} describes no ASR model, but a {type(model).__name__}")
    if not published:
        require(hparams, ("max_batch_examples", "max_batch_seconds", "grad_accumulation_factor"), path)
    run = depth_for(model, depth=depth)
    return {
        "schedule": str(run.schedule),
        "physical_layers": model.schedule.n_layers,
        "logical_depth": len(run),
        "parameters": count_parameters(model.parts()),
        "multiply_adds_per_second": multiply_adds_per_second(model, run),
        "peak_activation_bytes": training_step_activation_bytes(model, depth=run),
        **({} if published else {"training": _training(hparams, run)}),
    }


def settings_of(path: str | Path, trust: bool = False) -> tuple[Path, bool]:
    """The YAML file that a user names, and whether it may name any code: recipes may.

    Arguments
    ---------
    path : str or pathlib.Path
        A recipe's YAML file, or a results folder or its ``hyperparams.yaml``.
    trust : bool
        Whether to trust the folder.
    """
    file = Path(path) / SETTINGS
    path = file if file.is_file() else Path(path)
    return path, trust or not in_folder(path)


def _training(hparams, run):
    """Memory that a training on one device takes."""
    model, most = hparams["model"], hparams["max_batch_examples"] or math.inf
    utterances = int(min(most, max(1, hparams["max_batch_seconds"] // LONG)))
    return {
        "seconds": utterances * LONG,
        "activation_bytes": training_step_activation_bytes(model, LONG, utterances, depth=run),
        "state_bytes": 16 * count_parameters(model.parts())["total"],
        "batches_per_step": hparams["grad_accumulation_factor"],
    }


def as_text(facts: dict[str, Any]) -> str:
    """The facts of :func:`describe` as lines for a terminal.

    Example
    -------
    >>> print(as_text({"schedule": "(0)x3", "parameters": {"encoder": 2500000}}))
    schedule                    (0)x3
    parameters
      encoder                   2.50 M
    """
    lines = []
    for name, value in facts.items():
        title = name.replace("_", " ")
        if name == "training":
            lines.append(
                f"a training batch of {value['seconds']} s, {value['batches_per_step']} in a step"
            )
            for part in ("activation", "state"):
                lines.append(f"  {part:<25} {value[f'{part}_bytes'] / 2**30:.1f} GiB")
        elif isinstance(value, dict):
            lines.append(title)
            lines += [f"  {part:<25} {count / 1e6:.2f} M" for part, count in value.items()]
        elif name == "multiply_adds_per_second":
            lines.append(f"{title:<27} {value / 1e9:.2f} G")
        elif name == "peak_activation_bytes":
            lines.append(f"{'peak activations':<27} {value / 2**20:.0f} MiB in a training step of 10 s")
        else:
            lines.append(f"{title:<27} {value}")
    return "\n".join(lines)
