"""Adaptive exit by the thresholds that were chosen for a results folder."""

import json
from collections.abc import Mapping
from pathlib import Path

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text
from speechbrain_recursive.nn.halting import Halting
from speechbrain_recursive.nn.model import ASRModel

RESULT = "calibration.json"


def attach(model: ASRModel, exits: Mapping[str, Halting]) -> None:
    """Let blocks of an ASR model end rows early, before the blocks' other hooks run.

    Arguments
    ---------
    model : ASRModel
        With blocks of these names that recur.
    exits : mapping of str to Halting
        Criterion and threshold of each block.
    """
    for name, halting in exits.items():
        model.encoder.add_hook(name, halting.train(model.training), first=True)


def calibrated(folder: str | Path) -> tuple[dict[str, Halting], dict[str, int]]:
    """Load the exits that ``calibrate`` chose for a results folder.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.

    Returns
    -------
    dict of str to Halting
        Criterion and threshold of each block.
    dict of str to int
        The full depth that they were chosen for, as the loops of each block.

    Raises
    ------
    UserError
        If the folder was not calibrated, or its calibration is damaged.
    """
    path, advice = Path(folder) / RESULT, f"run speechbrain-recursive calibrate {folder}"
    text = read_text(path, f"{folder} has no {RESULT}: {advice}")
    try:
        found = json.loads(text)
        blocks = found["blocks"].items()
        exits = {
            name: Halting(found["criterion"], float(block["threshold"]), int(block["every"]))
            for name, block in blocks
        }
        return exits, {name: int(block["loops"]) for name, block in blocks}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path} is no calibration, or it is damaged: {advice}") from None
