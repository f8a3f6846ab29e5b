"""One run of a recipe, from the command line to the report; every recipe's ``train.py`` calls it."""

import errno
import inspect
import io
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import MainProcessContext, if_main_process, run_on_main
from speechbrain.utils.logger import get_logger
from speechbrain.utils.seed import seed_everything

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.manifest import summarize
from speechbrain_recursive.data.peers import check_tokens
from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.errors import UserError, of_system, one_line
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.hparams import load
from speechbrain_recursive.merging import parse
from speechbrain_recursive.nn.parts import freeze, prefixes, summary
from speechbrain_recursive.nn.transfer import WarmStart
from speechbrain_recursive.training.averaging import average_checkpoints
from speechbrain_recursive.training.brain import Brain, Diverged
from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.distributed import shard
from speechbrain_recursive.training.folder import describe_run, open_folder
from speechbrain_recursive.training.loggers import train_loggers
from speechbrain_recursive.training.options import parse_command_line
from speechbrain_recursive.training.settings import Settings
from speechbrain_recursive.training.stopping import StopRequest

logger = get_logger(__name__)

NO_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_RAISED = f"{UserError.__module__}.{UserError.__name__}: "


def run(corpus: type, argv: list[str] | None = None) -> None:
    """Run a recipe from its command line: prepare, train, evaluate and report.

    Mistakes of the user end the program with one line and exit status 1. After SIGINT (Ctrl-C) or
    SIGTERM, a checkpoint is saved first, and the status is 128 plus the number of the signal.

    Arguments
    ---------
    corpus : type
        The class of the recipe's corpus; the YAML's ``corpus`` is one of its objects.
    argv : list of str, optional
        Command line, ``[hparams.yaml, --key, value...]``.
    """
    argv = sys.argv[1:] if argv is None else argv
    script = inspect.currentframe().f_back.f_code.co_filename
    try:
        hparams_file, run_opts, overrides = parse_command_line(argv)
        hparams, text = load(hparams_file, overrides)
        if not isinstance(hparams["corpus"], corpus):
            raise UserError(
                f"{hparams_file}: corpus is {type(hparams['corpus']).__name__}, and this train.py is "
                f"{corpus.__name__}'s: use the one of that corpus"
            )
        train(hparams, text, run_opts, shlex.join(["python", "train.py", *argv]), script)
    except UserError as error:
        # What a loader's process raises comes with that process's traceback before the message.
        sys.exit(f"error: {str(error).strip().splitlines()[-1].removeprefix(_RAISED)}")
    except OSError as error:
        if error.errno not in NO_WRITING:
            raise
        sys.exit(f"error: {of_system(error)}")
    except KeyboardInterrupt as error:
        print(str(error) or "stopped", file=sys.stderr)
        sys.exit(128 + getattr(error, "number", signal.SIGINT))


def train(
    hparams: dict[str, Any],
    text: str,
    run_opts: Any = None,
    command: str = "",
    script: str | Path | None = None,
) -> dict[str, Any] | None:
    """Prepare, train, evaluate and report, in this process.

    The results folder then holds ``hyperparams.yaml`` (complete in itself), ``recipe.yaml``
    (the same before references were resolved, for fine-tuning), ``tokenizer.json``, ``model.ckpt`` (the
    weights that were evaluated), the report and the logs; ``save`` holds the
    checkpoints to resume from, which refuse to resume with other settings; see
    :class:`~speechbrain_recursive.training.settings.Settings`. A training that diverges has a report
    without error rates, whose tables say that it did not converge (DNC), and no ``model.ckpt``.

    Arguments
    ---------
    hparams : dict
        What :func:`speechbrain_recursive.hparams.load` built.
    text : str
        The merged YAML that it returned beside it.
    run_opts : RunOptions or dict, optional
        SpeechBrain's run options.
    command : str
        The command line that the report names.
    script : str or Path, optional
        The recipe's script, which is copied to the results folder.

    Returns
    -------
    dict or None
        The content of ``report.json``; None on all processes but the main one.

    Raises
    ------
    UserError
        For mistakes of the user.
    Stopped
        If SIGINT or SIGTERM stopped the training.
    """
    Bar.shown = not (run_opts or {}).get("noprogressbar", False)
    seed_everything(hparams["seed"] + shard()["rank"])  # processes of one training draw differently
    if hparams["average_checkpoints"] > hparams["keep_checkpoints"]:
        raise UserError("average_checkpoints is above keep_checkpoints: raise --keep_checkpoints")
    folder, corpus = Path(hparams["output_folder"]), hparams["corpus"]
    open_folder(folder)
    settings = Settings(parse(text, "hyperparams.yaml"), run_opts)
    parts = {"settings": settings, "model": hparams["model"]}
    checkpointer = AtomicCheckpointer(folder / "save", parts)
    checkpointer.recover_if_possible()  # refuses another model's folder before anything in it changes

    _fetch_ngram(hparams)
    manifests = prepare_manifests(hparams)
    trained_on = (*corpus.train_splits, *corpus.dev_splits)
    settings.corpus = {split: summarize(manifests[split]) for split in trained_on}
    checkpointer.recover_if_possible()  # refuses another corpus
    tokenizer = build_tokenizer(hparams, [manifests[split] for split in corpus.train_splits])
    loader, dev, tests = hparams["task"].loaders(hparams, manifests, tokenizer)
    _start(hparams, tokenizer)
    checkpointer.add_recoverable("loader", loader)
    hparams["train_loggers"] = train_loggers(hparams, text) if if_main_process() else []
    try:
        brain = Brain(
            tokenizer,
            modules=hparams["modules"],
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=checkpointer,
        )
    except ValueError as error:  # SpeechBrain's message about run options, such as fp16 on a CPU
        raise UserError(one_line(error)) from error
    brain.train_sampler = loader.batch_sampler
    if if_main_process():
        describe_run(folder, text, script)
    diverged = None
    try:
        with StopRequest() as brain.stop:
            brain.fit(hparams["epoch_counter"], loader, dev)
    except Diverged as error:
        diverged = str(error)
        logger.error(f"The training diverged: {diverged}")
    if not if_main_process():
        return None
    with MainProcessContext():  # waits for no other process: they are done
        if diverged is None:
            _keep_best(brain, folder / "model.ckpt")
        return brain.task.report(tests, command, diverged)


def _fetch_ngram(hparams):
    """Fetch the n-gram that the recipe names, if it is missing and downloads were asked for."""
    ngram = hparams.get("ngram")  # language models have none
    if ngram is None or Path(ngram).is_file():
        return
    if not hparams["download"]:
        raise UserError(f"ngram: there is no {ngram}; --download True fetches what the corpus offers")
    run_on_main(hparams["corpus"].download_ngram, args=[ngram])


def prepare_manifests(hparams: dict[str, Any]) -> dict[str, Path]:
    """Manifests by split, of the corpus or of its synthetic twin."""
    corpus, data_folder = hparams["corpus"], hparams["data_folder"]
    if data_folder is None:
        if hparams["download"] and hparams.get("ngram") is None:
            raise UserError("--download True needs a --data_folder to download into")
        data_folder = hparams["synthetic_folder"]
        try:
            run_on_main(corpus.synthesize, args=[data_folder], kwargs=hparams["synthetic"])
        except TypeError as error:
            raise UserError(f"synthetic: {one_line(error)}") from error
    elif hparams["download"]:
        run_on_main(corpus.download, args=[data_folder])
    save_folder = Path(hparams["output_folder"]) / "manifests"
    options = {"bad_test_audio": hparams["bad_test_audio"]}
    run_on_main(corpus.prepare, args=[data_folder, save_folder], kwargs=options)
    return {split: save_folder / f"{split}.csv" for split in corpus.splits}


def build_tokenizer(hparams: dict[str, Any], train_manifests: list[Path]) -> Pieces:
    """Build the tokenizer, but keep the tokens that this folder's checkpoints were trained on."""
    path = Path(hparams["output_folder"]) / "tokenizer.json"
    run_on_main(_build_unless_in_use, args=[hparams["tokenizer"], path, train_manifests])
    tokenizer = hparams["tokenizer"].build(path, train_manifests)
    if len(tokenizer) != hparams["n_tokens"]:
        raise UserError(f"n_tokens is {hparams['n_tokens']}, the tokenizer has {len(tokenizer)} pieces")
    return tokenizer


def _build_unless_in_use(spec, path, manifests):
    before = path.read_bytes() if path.is_file() else None
    old = load_tokenizer(path).pieces if before else None
    new = spec.build(path, manifests).pieces
    if old not in (None, new) and any((path.parent / "save").glob("CKPT*")):
        write_whole(path, before)
        raise UserError(
            f"{path.parent / 'save'} was trained on other tokens: the training text or a token option "
            "has changed; set it back or choose another --output_folder"
        )


def _start(hparams, tokenizer):
    """Start from other weights, and freeze what is not to be trained.

    Weights of another run are refused if its tokens are not this run's, unless all heads are reset.
    """
    start, model = hparams["warm_start"], hparams["model"]
    reset = prefixes(model, hparams["reset"], "reset")
    freeze(model, hparams["freeze"])
    if start is None:
        if reset:
            raise UserError("reset names what a --warm_start leaves out, and there is none")
        return
    start = start if callable(start) else WarmStart(start)
    heads = prefixes(model, [*getattr(model, "heads", ())], "reset")
    if start.path is not None and not (heads and {*heads} <= {*reset}):
        _check_tokens(start.path, tokenizer, heads)
    if taken := start(model, tokenizer.pieces, reset):
        logger.info(f"Weights of {start.path or start.source}: {summary(model, taken)}")


def _check_tokens(path, tokenizer, heads):
    folders = path.resolve().parents[:3]  # model.ckpt, or save/CKPT+.../model.ckpt
    theirs = next((file for file in (up / "tokenizer.json" for up in folders) if file.is_file()), None)
    if theirs is None:
        logger.warning(f"warm_start: {path} has no tokenizer.json, so its tokens cannot be compared")
    else:
        try:
            check_tokens(theirs, tokenizer)
        except UserError as error:
            names = ", ".join(head.removeprefix("heads.").rstrip(".") for head in heads)
            raise UserError(
                f"{error}, or train new heads with --reset '[{names}]'" if heads else error
            ) from None


def _keep_best(brain, path):
    """Average the best checkpoints into the model, and keep its weights by themselves."""
    name = brain.task.error_name
    best = brain.checkpointer.find_intact(brain.hparams.average_checkpoints, min_key=name)
    if not best:
        raise UserError(f"{brain.checkpointer.checkpoints_dir} has no intact checkpoint to evaluate")
    weights = average_checkpoints(best, "model")
    brain.hparams.model.load_state_dict(weights)
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    write_whole(path, buffer.getvalue())
