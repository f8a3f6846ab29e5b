"""One recipe run from the command line to the report; every recipe's ``train.py`` calls it."""

import importlib.util
import os
import shlex
import sys
from functools import partial
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import (
    MainProcessContext,
    ddp_init_group,
    if_main_process,
    run_on_main,
)
from speechbrain.utils.train_logger import FileTrainLogger, TensorboardLogger, WandBLogger

from speechbrain_recursive.data.build_tokeniser import build_tokeniser
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load, load_weights
from speechbrain_recursive.nn.transfer import warm_start
from speechbrain_recursive.training.averaging import average_checkpoints
from speechbrain_recursive.training.checkpoints import AtomicCheckpointer


def run(prepare, synthesise, argv=None):
    """Prepare, train, evaluate and report.

    The results folder then holds ``hyperparams.yaml`` (complete in itself), ``tokeniser.json``,
    ``model.ckpt`` (the weights that were evaluated), the report and the logs; ``save`` holds the
    checkpoints to resume from.

    Mistakes that the person at the keyboard can mend end the program with one line.

    Arguments
    ---------
    prepare : callable
        The corpus's prepare function: ``(hparams, data_folder, save_folder) -> {split: manifest}``.
    synthesise : callable
        Makes the synthetic twin in the corpus's layout: ``(folder, **options) -> data_folder``. It is
        used where ``data_folder`` is null.
    argv : list of str, optional
        Command line, ``[hparams.yaml, --key, value...]``.
    """
    try:
        _run(prepare, synthesise, sys.argv[1:] if argv is None else argv)
    except UserError as error:
        sys.exit(f"error: {error}")


def _run(prepare, synthesise, argv):
    hparams_file, run_opts, overrides = sb.parse_arguments(argv)
    ddp_init_group(run_opts)
    hparams, text = load(hparams_file, overrides)
    for key in ("train_splits", "dev_splits", "test_splits"):
        if not hparams[key]:
            raise UserError(f"{key} names no split")
    folder = Path(hparams["output_folder"])
    sb.create_experiment_directory(folder)
    if if_main_process():
        (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")

    manifests = _corpus(prepare, synthesise, hparams)
    train = [manifests[split] for split in hparams["train_splits"]]
    tokeniser = _tokeniser(hparams, train)
    loader, others = hparams["brain"].loaders(hparams, manifests, tokeniser)
    if hparams["warm_start"] is not None:
        load_weights(hparams["warm_start"], partial(warm_start, hparams["model"]))
    hparams["train_loggers"] = _train_loggers(hparams) if if_main_process() else []
    brain = hparams["brain"](
        tokeniser,
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=AtomicCheckpointer(
            folder / "save",
            recoverables={"model": hparams["model"], "loader": loader},
            schedule=hparams["schedule"],
        ),
    )
    brain.train_sampler = loader.batch_sampler
    brain.fit(hparams["epoch_counter"], loader, others[hparams["dev_splits"][0]])
    if if_main_process():
        with MainProcessContext():  # waits for no other process: they are done
            _keep_best(brain, folder / "model.ckpt")
            tests = {split: others[split] for split in hparams["test_splits"]}
            brain.report(tests, train, shlex.join(["python", "train.py", *argv]))


def _corpus(prepare, synthesise, hparams):
    """Manifests by split, of the corpus or of its synthetic twin."""
    data_folder = hparams["data_folder"]
    if data_folder is None:
        data_folder = hparams["synthetic_folder"]
        run_on_main(synthesise, args=[data_folder], kwargs=hparams["synthetic"])
    save_folder = Path(hparams["output_folder"]) / "manifests"
    run_on_main(prepare, args=[hparams, data_folder, save_folder])
    return {path.stem: path for path in save_folder.glob("*.csv")}


def _tokeniser(hparams, train):
    options = {
        "path": Path(hparams["output_folder"]) / "tokeniser.json",
        "manifests": train,
        "kind": "characters" if hparams["characters"] else "sentencepiece",
        "seq2seq": hparams["num_decoder_layers"] > 0,
        "alphabet": hparams["characters"],
        "vocab_size": hparams["n_tokens"],
        "model_type": hparams["token_type"],
    }
    run_on_main(build_tokeniser, kwargs=options)
    tokeniser = build_tokeniser(**options)
    if len(tokeniser) != hparams["n_tokens"]:
        raise UserError(f"n_tokens is {hparams['n_tokens']}, the tokeniser has {len(tokeniser)} pieces")
    return tokeniser


def _train_loggers(hparams):
    folder = Path(hparams["output_folder"])
    loggers = [FileTrainLogger(folder / "train_log.txt")]
    if hparams["tensorboard"]:
        loggers.append(TensorboardLogger(str(folder / "tensorboard")))
    if hparams["wandb_project"]:
        if importlib.util.find_spec("wandb") is None:
            raise UserError("wandb_project is set, but wandb is not installed: pip install wandb")
        import wandb

        loggers.append(WandBLogger(wandb.init, project=hparams["wandb_project"], dir=str(folder)))
    return loggers


def _keep_best(brain, path):
    """Average the best checkpoints into the model, and keep its weights by themselves."""
    best = brain.checkpointer.find_intact(brain.hparams.average_checkpoints, min_key=brain.error_name)
    if not best:
        raise UserError(
            f"{brain.checkpointer.checkpoints_dir}: there is no intact checkpoint to evaluate"
        )
    weights = average_checkpoints(best, "model")
    brain.hparams.model.load_state_dict(weights)
    partial = path.with_suffix(".partial")
    torch.save(weights, partial)
    os.replace(partial, path)
