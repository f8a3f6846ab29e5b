"""Where the numbers of a training go: ``train_log.txt``, TensorBoard, Weights & Biases."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechbrain.utils.train_logger import FileTrainLogger, TensorboardLogger, TrainLogger

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.hparams import resolve
from speechbrain_recursive.merging import leaves, parse


def train_loggers(hparams: Mapping[str, Any], text: str) -> list[TrainLogger]:
    """Make the loggers of a run.

    Arguments
    ---------
    hparams : mapping
        With ``output_folder``, ``tensorboard`` and ``wandb_project``.
    text : str
        The merged YAML.

    Raises
    ------
    UserError
        If Weights & Biases is asked for and not installed.
    """
    folder = Path(hparams["output_folder"])
    loggers = [FileTrainLogger(folder / "train_log.txt")]
    if hparams["tensorboard"]:
        loggers.append(TensorBoard(str(folder / "tensorboard")))
    if hparams["wandb_project"]:
        config = dict(leaves(parse(resolve(text), "hyperparams.yaml")))
        loggers.append(WandB(folder, hparams["wandb_project"], config))
    return loggers


class TensorBoard(TensorboardLogger):
    """SpeechBrain's logger, with optimizer steps as the axis.

    The stock logger counts its own calls, anew after a resume.

    Arguments
    ---------
    save_dir : str
        Where TensorBoard finds the run.
    """

    def log_stats(self, stats_meta, train_stats=None, valid_stats=None, **_):
        """Add a point to each curve."""
        for name, value in _numbers(stats_meta, train_stats, valid_stats).items():
            self.writer.add_scalar(name, value, stats_meta["step"])


class WandB(TrainLogger):
    """A run of Weights & Biases, which goes on when the training is resumed.

    The stock logger takes epochs as the axis, of which there is one point each.

    Arguments
    ---------
    folder : pathlib.Path
        The results folder. It keeps the ID of the run, and the run has the names of it and of the
        folder above it.
    project : str
        The project that the run belongs to.
    config : dict
        Hyperparameters.

    Raises
    ------
    UserError
        If wandb is not installed.
    """

    def __init__(self, folder: Path, project: str, config: dict[str, Any]):
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                "wandb_project is set, but wandb is not installed: pip install wandb"
            ) from error
        kept = folder / "wandb_id.txt"
        if not kept.is_file():
            write_whole(kept, uuid.uuid4().hex)
        self.run = wandb.init(
            project=project,
            name="/".join(folder.parts[-2:]),
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
            config=config,
            dir=str(folder),
        )

    def log_stats(self, stats_meta, train_stats=None, valid_stats=None, **_):
        """Add a point to each curve."""
        self.run.log(_numbers(stats_meta, train_stats, valid_stats), step=stats_meta["step"])


def _numbers(stats_meta, train_stats, valid_stats):
    """Numbers by tag, in the manner of SpeechBrain's logger; of a step, its number is no curve."""
    found = {name: value for name, value in stats_meta.items() if name != "step"}
    for kind, stats in (("train", train_stats), ("valid", valid_stats)):
        found.update({f"{name}/{kind}": value for name, value in (stats or {}).items()})
    return {tag: value for tag, value in found.items() if isinstance(value, (int, float))}
