"""One recipe run from the command line to the report; every recipe's ``train.py`` calls it."""

import importlib.util
import io
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
from speechbrain.utils.seed import seed_everything
from speechbrain.utils.train_logger import FileTrainLogger, TensorboardLogger, WandBLogger

from speechbrain_recursive.data.build_tokenizer import build_tokenizer
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.hparams import load, load_weights, merge, parse_overrides
from speechbrain_recursive.nn.transfer import warm_start
from speechbrain_recursive.training.averaging import average_checkpoints
from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.distributed import shard

_RAISED = f"{UserError.__module__}.{UserError.__name__}: "


def run(prepare, synthesize, argv=None, download_ngram=None):
    """Prepare, train, evaluate and report.

    The results folder then holds ``hyperparams.yaml`` (complete in itself), ``tokenizer.json``,
    ``model.ckpt`` (the weights that were evaluated), the report and the logs; ``save`` holds the
    checkpoints to resume from.

    Mistakes that the person at the keyboard can mend end the program with one line.

    Arguments
    ---------
    prepare : callable
        The corpus's prepare function: ``(hparams, data_folder, save_folder) -> {split: manifest}``.
    synthesize : callable
        Makes the synthetic twin in the corpus's layout: ``(folder, **options) -> data_folder``. It is
        used where ``data_folder`` is null.
    argv : list of str, optional
        Command line, ``[hparams.yaml, --key, value...]``.
    download_ngram : callable, optional
        Fetches the n-gram that belongs at a path: ``(path) -> None``. It is used where ``ngram`` names a
        file that is not there, and ``download`` is true.
    """
    try:
        _run(prepare, synthesize, sys.argv[1:] if argv is None else argv, download_ngram)
    except UserError as error:
        # What a loader's process raises comes with that process's traceback before the message.
        sys.exit(f"error: {str(error).strip().splitlines()[-1].removeprefix(_RAISED)}")


def _run(prepare, synthesize, argv, download_ngram):
    hparams_file, run_opts, overrides = sb.parse_arguments(argv)
    ddp_init_group(run_opts)
    hparams, text = load(hparams_file, _with_run_options(hparams_file, run_opts, overrides))
    seed_everything(hparams["seed"] + shard()["rank"])  # processes of one training draw differently
    if hparams["average_checkpoints"] > hparams["keep_checkpoints"]:
        raise UserError(
            f"average_checkpoints is {hparams['average_checkpoints']}, but only "
            f"{hparams['keep_checkpoints']} are kept: raise --keep_checkpoints"
        )
    for key in ("train_splits", "dev_splits", "test_splits"):
        if not hparams[key]:
            raise UserError(f"{key} names no split")
    folder = Path(hparams["output_folder"])
    sb.create_experiment_directory(folder)
    checkpointer = AtomicCheckpointer(
        folder / "save", {"model": hparams["model"]}, schedule=hparams["schedule"]
    )
    checkpointer.recover_if_possible()  # refuses another model's folder before anything in it changes

    _ngram(download_ngram, hparams)
    manifests = _corpus(prepare, synthesize, hparams)
    train = [manifests[split] for split in hparams["train_splits"]]
    tokenizer = _tokenizer(hparams, train)
    loader, dev, tests = hparams["brain"].loaders(hparams, manifests, tokenizer)
    if hparams["warm_start"] is not None:
        load_weights(hparams["warm_start"], partial(warm_start, hparams["model"]))
    checkpointer.add_recoverable("loader", loader)
    hparams["train_loggers"] = _train_loggers(hparams) if if_main_process() else []
    try:
        brain = hparams["brain"](
            tokenizer,
            modules=hparams["modules"],
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=checkpointer,
        )
    except ValueError as error:  # SpeechBrain's word on run options, such as fp16 on a CPU
        raise UserError(one_line(error)) from error
    brain.train_sampler = loader.batch_sampler
    if if_main_process():
        write_whole(folder / "hyperparams.yaml", text)
    brain.fit(hparams["epoch_counter"], loader, dev)
    if if_main_process():
        with MainProcessContext():  # waits for no other process: they are done
            _keep_best(brain, folder / "model.ckpt")
            brain.report(tests, train, shlex.join(["python", "train.py", *argv]))


def _ngram(download_ngram, hparams):
    """Fetch the n-gram that the recipe names, if it is missing and downloads were asked for."""
    ngram = hparams.get("ngram")  # language models have none
    if ngram is None or Path(ngram).is_file():
        return
    if download_ngram is None:
        raise UserError(f"ngram: there is no {ngram}")
    if not hparams["download"]:
        raise UserError(f"ngram: there is no {ngram}; --download True fetches OpenSLR's, by their names")
    run_on_main(download_ngram, args=[ngram])


def _corpus(prepare, synthesize, hparams):
    """Manifests by split, of the corpus or of its synthetic twin."""
    data_folder = hparams["data_folder"]
    if data_folder is None:
        if hparams["download"] and hparams.get("ngram") is None:
            raise UserError("--download True needs a --data_folder to download into")
        hparams = hparams | {"download": False}  # nothing is missing from what is made here
        data_folder = hparams["synthetic_folder"]
        try:
            run_on_main(synthesize, args=[data_folder], kwargs=hparams["synthetic"])
        except TypeError as error:
            raise UserError(f"synthetic: {one_line(error)}") from error
    save_folder = Path(hparams["output_folder"]) / "manifests"
    run_on_main(prepare, args=[hparams, data_folder, save_folder])
    return {path.stem: path for path in save_folder.glob("*.csv")}


def _tokenizer(hparams, train):
    characters = hparams["token_type"] == "char"
    options = {
        "path": Path(hparams["output_folder"]) / "tokenizer.json",
        "manifests": train,
        "kind": "characters" if characters or hparams["characters"] else "sentencepiece",
        "seq2seq": hparams["num_decoder_layers"] > 0,
        "alphabet": hparams["characters"],
        "vocab_size": hparams["n_tokens"],
        "model_type": hparams["token_type"],
        "boundary": not characters,
    }
    run_on_main(_build_unless_in_use, kwargs=options)
    tokenizer = build_tokenizer(**options)
    if len(tokenizer) != hparams["n_tokens"]:
        raise UserError(f"n_tokens is {hparams['n_tokens']}, the tokenizer has {len(tokenizer)} pieces")
    return tokenizer


def _build_unless_in_use(path, **options):
    """Build the tokenizer, but keep the tokens that this folder's checkpoints were trained on."""
    before = path.read_bytes() if path.is_file() else None
    old = load_tokenizer(path).pieces if before else None
    new = build_tokenizer(path, **options).pieces
    if old not in (None, new) and any((path.parent / "save").glob("CKPT*")):
        write_whole(path, before)
        raise UserError(
            f"{path.parent / 'save'} was trained on other tokens: the training text or a token option "
            "has changed; set it back or choose another --output_folder"
        )


def _with_run_options(hparams_file, run_opts, overrides):
    """All that was overridden, SpeechBrain's run options that stand in the YAML included."""
    if "optimizer_step_limit" in run_opts.overridden_args:
        raise UserError("set a budget of steps with --number_of_steps, not --optimizer_step_limit")
    if "compile_module_keys" in run_opts.overridden_args and not run_opts["compile"]:
        raise UserError(
            "--compile_module_keys does nothing without --compile; try --compile_layers True"
        )
    known = run_opts.overridden_args & merge(hparams_file).keys()
    return parse_overrides(overrides) | {key: run_opts[key] for key in sorted(known)}


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
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    write_whole(path, buffer.getvalue())
