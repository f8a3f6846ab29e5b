"""The results folder of a run: logs, and what ran where."""

import logging
import os
import platform
import shutil
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

import speechbrain as sb
from speechbrain.core import DEFAULT_LOG_CONFIG
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger, setup_logging

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.hparams import RECIPE, resolve

logger = get_logger(__name__)


def open_folder(folder: Path) -> None:
    """Create a results folder and log to its ``log.txt`` from now on.

    Arguments
    ---------
    folder : pathlib.Path
        The folder; it may exist.

    Raises
    ------
    UserError
        If it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        raise UserError(
            f"output_folder: {folder} cannot be written: {os.strerror(error.errno)}"
        ) from error
    logging.raiseExceptions = False  # a full disk must not print a traceback for each log line
    if if_main_process():
        handlers = {"file_handler": {"filename": str(folder / "log.txt")}}
        setup_logging(DEFAULT_LOG_CONFIG, {"handlers": handlers})
        sb.utils.quirks.log_applied_quirks()  # they were applied before there was a log
        logger.info(f"Results folder: {folder}")


def describe_run(folder: Path, recipe: str, script: str | Path | None = None) -> None:
    """Write settings, ``env.log`` and a copy of the script into a results folder.

    ``hyperparams.yaml`` is the recipe with its references resolved, for what builds the model;
    ``recipe.yaml`` is the recipe itself, for fine-tuning.

    ``env.log`` lists the packages of the interpreter that runs. SpeechBrain's own lists those of the
    ``pip`` that comes first on the PATH.

    Arguments
    ---------
    folder : pathlib.Path
        The results folder.
    recipe : str
        The merged YAML of the run.
    script : str or Path, optional
        The recipe's script.
    """
    packages = {
        f"{about['Name']}=={about['Version']}" for about in (each.metadata for each in distributions())
    }
    about = [
        f"Python {sys.version}",
        sys.executable,
        platform.platform(),
        "",
        *sorted(packages, key=str.lower),
    ]
    write_whole(folder / RECIPE, recipe)
    write_whole(folder / "hyperparams.yaml", resolve(recipe))
    write_whole(folder / "env.log", "\n".join(about) + "\n")
    if script is not None:
        shutil.copy(script, folder)
