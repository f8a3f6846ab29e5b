"""One recipe run from the command line to the report; every recipe's ``train.py`` calls it."""

import importlib.util
import shlex
import sys
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main
from speechbrain.utils.logger import get_logger
from speechbrain.utils.train_logger import FileTrainLogger, TensorboardLogger, WandBLogger

from speechbrain_recursive.analysis.cost import count_parameters, multiply_adds
from speechbrain_recursive.analysis.report import environment, write_report
from speechbrain_recursive.data.build_tokeniser import build_tokeniser
from speechbrain_recursive.data.dataset import eval_loader, make_dataset, train_loader
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load
from speechbrain_recursive.training.averaging import average_checkpoints
from speechbrain_recursive.training.brain import Brain
from speechbrain_recursive.training.evaluation import evaluate

logger = get_logger(__name__)


def run(prepare, synthesise, argv=None):
    """Prepare, train, decode and report.

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
    folder = Path(hparams["output_folder"])
    sb.create_experiment_directory(folder)
    if if_main_process():
        (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")

    manifests = _corpus(prepare, synthesise, hparams)
    train = [manifests[split] for split in hparams["train_splits"]]
    tokeniser = _tokeniser(hparams, train)
    loader = train_loader(
        make_dataset(train[0], tokeniser),
        max_batch_seconds=hparams["max_batch_seconds"],
        num_workers=hparams["num_workers"],
        seed=hparams["seed"],
    )
    loaders = {
        split: eval_loader(
            make_dataset(manifests[split], tokeniser),
            max_batch_seconds=hparams["eval_batch_seconds"],
            num_workers=hparams["num_workers"],
        )
        for split in (*hparams["dev_splits"], *hparams["test_splits"])
    }
    _warm_start(hparams)
    hparams["train_loggers"] = _train_loggers(hparams) if if_main_process() else []
    brain = Brain(
        tokeniser,
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.train_sampler = loader.batch_sampler
    hparams["checkpointer"].add_recoverable("loader", loader)
    brain.fit(hparams["epoch_counter"], loader, loaders[hparams["dev_splits"][0]])
    if if_main_process():
        tests = {split: loaders[split] for split in hparams["test_splits"]}
        _evaluate(brain, tests, train, hparams, argv)


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
        raise UserError(
            f"n_tokens is {hparams['n_tokens']}, but the tokeniser has {len(tokeniser)} pieces"
        )
    return tokeniser


def _warm_start(hparams):
    """Start from the weights of another model with the same keys, such as a stock one."""
    path = hparams["warm_start"]
    if path is None:
        return
    if not Path(path).is_file():
        raise UserError(f"warm_start: there is no {path}")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    try:
        hparams["model"].load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"warm_start: {path} does not fit: {' '.join(str(error).split())}") from error


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


def _evaluate(brain, loaders, train, hparams, argv):
    """Decode the test sets with the best checkpoints and write the report."""
    model, folder = hparams["model"], Path(hparams["output_folder"])
    best = brain.checkpointer.find_intact(hparams["average_checkpoints"], min_key="WER")
    if best:
        model.load_state_dict(average_checkpoints(best, "model"))
    model.eval()
    arpa = hparams["ngram"]
    if arpa is None:
        words = (row["wrd"] for manifest in train for row in read_manifest(manifest).values())
        arpa = estimate_ngram(words, folder / "ngram.arpa", hparams["ngram_order"])
    joint = hparams["joint_beam"] if model.seq_lin is not None else None
    trained = hparams["loop_policy"].trained
    found = evaluate(
        model,
        loaders,
        brain.tokeniser,
        hparams["eval_loops"],
        trained,
        ngram=hparams["ngram_beam"](brain.tokeniser, arpa),
        joint=joint(model, brain.tokeniser) if joint else None,
        progressbar=not brain.noprogressbar,
    )
    info = {
        "schedule": str(model.schedule),
        "logical_depth": len(model.schedule),
        "parameters": count_parameters(model.parts()),
        "multiply_adds_per_second": _multiply_adds(model, {row["loops"] for row in found.rows}),
        "seed": hparams["seed"],
        "command": shlex.join(["python", "train.py", *argv]),
        "steps": brain.optimizer_step,
        "synthetic": hparams["data_folder"] is None,
        **environment(),
    }
    write_report(folder, found.rows, info, found.worst)


def _multiply_adds(model, loop_counts, seconds=10):
    device = next(model.parameters()).device
    wavs, lens = torch.zeros(1, seconds * model.sample_rate, device=device), torch.ones(1, device=device)
    with torch.no_grad():
        return {
            loops: multiply_adds(lambda loops=loops: model(wavs, lens, loops=loops)) // seconds
            for loops in sorted(loop_counts)
        }
