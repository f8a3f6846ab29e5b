"""The folder of a published model, built from a finished run and checked against it."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import speechbrain as sb
import torch
from safetensors.torch import save

from speechbrain_recursive.analysis.curves import training_curves
from speechbrain_recursive.analysis.nist import scorer
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.fingerprint import fingerprint
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding.decoder import Decoder
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, sha256, write_whole
from speechbrain_recursive.hparams import RECIPE, read_recipe
from speechbrain_recursive.inference.adaptive import RESULT
from speechbrain_recursive.inference.card import model_card, public_command
from speechbrain_recursive.inference.decoders import build_decoder, started_in
from speechbrain_recursive.inference.hub import check_name, fetch, upload
from speechbrain_recursive.inference.results import MEDIAN_PATHS, open_results
from speechbrain_recursive.inference.settings import (
    language_model_settings,
    published_recipe,
    published_settings,
)
from speechbrain_recursive.weights import read_weights, weights_in

WEIGHTS, SETTINGS, TOKENS, REPORT = (
    "model.safetensors",
    "hyperparams.yaml",
    "tokenizer.json",
    "report.json",
)
CURVES = "training.png"


class Sample(NamedTuple):
    """A test utterance of a run: its manifest and row there, and what each decoder made of it."""

    uid: str
    manifest: Path
    row: dict[str, Any]
    hypotheses: dict[str, str]


def publish(
    results: str | Path, name: str, private: bool = False, dry_run: bool = False, trust: bool = False
) -> dict:
    """Build the folder of a model, check it, upload it, and read it back.

    Arguments
    ---------
    results : str or pathlib.Path
        The results folder of a finished run, which keeps what is built as ``published``.
    name : str
        USER/NAME on the Hub.
    private : bool
        Whether to create it as a private model.
    dry_run : bool
        Whether to upload nothing.
    trust : bool
        Whether the run's YAML may name any code, such as your own modules.

    Returns
    -------
    dict
        ``folder`` (Path), ``files`` (dict from name to bytes), ``sample`` (the ID of the utterance whose
        transcripts are those of the run, or None if its audio is gone) and, once uploaded, ``revision``.

    Raises
    ------
    UserError
        If the run is unfinished, diverged or was for debugging, if its files are not those that were
        evaluated, if a transcript differs from the run's, or if the upload fails.
    """
    check_name(name)
    results = Path(results)
    report = finished(results)
    folder = build(results, name, report, trust)
    sample = choose_sample(results, report)
    check(folder, sample, trust)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    sizes = {place: path.stat().st_size for place, path in files.items() if path.is_file()}
    done = {"folder": folder, "files": sizes, "sample": sample and sample.uid}
    if dry_run:
        return done
    revision = upload(folder, name, private)
    back = results / ".read_back"
    shutil.rmtree(back, ignore_errors=True)
    try:
        fetch(name, revision, back)
        for place in sizes:
            if not (back / place).is_file() or sha256(back / place) != sha256(folder / place):
                raise UserError(f"{name}, revision {revision}: {place} is not what was uploaded")
        check(back, sample, trust)
    finally:
        shutil.rmtree(back, ignore_errors=True)
    return done | {"revision": revision}


def finished(results: Path) -> dict[str, Any]:
    """The report of a results folder, if it is that of a finished run with the files that are there.

    Raises
    ------
    UserError
        If it is not.
    """
    text = read_text(results / REPORT, f"{results} is no finished run: there is no {REPORT}")
    try:
        report = json.loads(text)
        recorded = report.get("fingerprint")
    except (ValueError, AttributeError):
        raise UserError(f"{results / REPORT} is no report, or it is damaged") from None
    if "diverged" in report:
        raise UserError(f"{results} diverged: {report['diverged']}")
    if "debug" in report:
        raise UserError(f"{results} was a run with --debug: train it without")
    again = "run its command once more, which evaluates it anew"
    if not recorded:
        raise UserError(f"{results / REPORT} has no fingerprint of the run: {again}")
    splits = [key.partition("/")[2] for key in recorded if key.startswith("manifests/")]
    now = fingerprint(results, splits)
    changed = [key for key in recorded | now if recorded.get(key) != now.get(key)]
    if changed:
        raise UserError(f"{results}: {', '.join(changed)} changed after the evaluation: {again}")
    return report


def build(results: Path, name: str, report: dict[str, Any], trust: bool = False) -> Path:
    """Write ``published`` into a results folder, in the place of what is there.

    Raises
    ------
    UserError
        If the run is not one of an ASR model, a file that a decoder names is missing, or a setting holds
        a path of this machine.
    """
    hparams = open_results(results, trust=trust)[2]
    folder = results / "published"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    placed, commands = {}, []

    def place(kind, named):
        """Copy what a decoder names; returns its name in the folder."""
        origins = results, started_in(results, hparams["output_folder"]), Path()
        source = next((path for at in origins if (path := at / named).exists()), None)
        if source is None:
            raise UserError(f"{results}: {kind} {named} does not exist any more")
        if str(source) not in placed:
            stem = "lm" if kind == "lm" else source.name
            count = sum(each == stem for each in placed.values())
            placed[str(source)] = stem if not count else f"{count + 1}-{stem}"
            if kind == "lm":
                _copy_model(source, folder / placed[str(source)], language_model_settings)
                if (source / REPORT).is_file():
                    commands.append(public_command(json.loads(read_text(source / REPORT))["command"]))
            else:
                shutil.copyfile(source, folder / placed[str(source)])
        return placed[str(source)]

    search = _search(hparams["task"].decoders, report["results"])
    _copy_model(results, folder, published_settings, place, search)
    recipe = results / RECIPE
    write_whole(folder / RECIPE, published_recipe(read_text(recipe), recipe))
    own = [key for key in report["fingerprint"] if key.endswith(".arpa")]
    plots = [path.name for path in results.glob("w*_vs_*.png")]
    for file in (*own, *plots, MEDIAN_PATHS, RESULT):
        if (results / file).is_file():
            shutil.copyfile(results / file, folder / file)
    if (results / "train_log.txt").is_file():
        write_whole(folder / CURVES, training_curves(read_text(results / "train_log.txt")))
    public = report | {"command": public_command(report["command"])}
    write_whole(folder / REPORT, json.dumps(public, indent=1, ensure_ascii=False))
    write_whole(folder / "README.md", model_card(name, folder, public, hparams, search, commands))
    _check_no_paths(folder, (results, Path.cwd(), Path.home()))
    read_recipe(folder / RECIPE, trust)
    return folder


def _search(decoders: dict[str, Decoder], rows: list[dict[str, Any]]) -> str | None:
    """The best of the decoders that read the encoder's states, and not CTC posteriors."""
    rates = {}
    for row in rows:
        decoder = decoders.get(row["decoder"])
        if row["trained"] and decoder is not None and "ctc" not in decoder.request.heads:
            rates.setdefault(row["decoder"], []).append(row.get("wer", row.get("cer")))
    return min(rates, key=lambda name: fmean(rates[name]), default=None)


def _copy_model(source, folder, derive, *options):
    """Settings, weights and tokenizer of a run or of a model that was published."""
    tokenizer = load_tokenizer(source / TOKENS)
    settings = source / SETTINGS
    text = derive(read_text(settings), settings, len(tokenizer), *options)
    write_whole(folder / SETTINGS, text)
    tensors = {key: value.clone() for key, value in read_weights(weights_in(source)).items()}
    write_whole(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    tokenizer.save(folder / TOKENS)


def _check_no_paths(folder: Path, private: Iterable[Path]):
    private = {str(path.resolve()) for path in private} - {"/"}
    for path in folder.rglob("*"):
        if path.suffix in (".yaml", ".json", ".md"):
            text = read_text(path)
            if found := next((each for each in private if f"{each}/" in text), None):
                raise UserError(f"{path} names {found}, a path of this machine: it cannot be published")


def choose_sample(results: Path, report: dict[str, Any]) -> Sample | None:
    """The shortest test utterance whose audio is there and in which the run heard words.

    Returns
    -------
    Sample or None
        None if there is no such audio.
    """
    label = next(row["label"] for row in report["results"] if row["trained"])
    heard = {}  # hypotheses by split, ID and decoder
    for row in json.loads(read_text(results / "hypotheses.json")):
        if row["label"] == label:
            heard.setdefault((row["split"], row["id"]), {})[row["decoder"]] = row["hypothesis"]
    splits = {split: results / f"manifests/{split}.csv" for split, _ in heard}
    rows = {split: read_manifest(path) for split, path in splits.items() if path.is_file()}
    found = [
        Sample(uid, splits[split], rows[split][uid], hypotheses)
        for (split, uid), hypotheses in heard.items()
        if split in rows
        and not rows[split][uid]["unreadable"]
        and Path(rows[split][uid]["wav"]).is_file()
    ]
    return min(found, key=lambda s: (not all(s.hypotheses.values()), s.row["duration"]), default=None)


@torch.no_grad()
def check(folder: Path, sample: Sample | None, trust: bool = False) -> None:
    """Open a published folder and compare the transcripts of a sample, by every decoder.

    Raises
    ------
    UserError
        If the folder does not open or a transcript is not the run's.
    """
    model, tokenizer, hparams = open_results(folder, trust=trust)
    if sample is None:
        return
    row, task, corpus = sample.row, hparams["task"], hparams["corpus"]
    signal = read_audio(row["wav"], model.sample_rate, row["start"], row["stop"], row["channel"])
    depth = task.policy.at_inference(model.schedule, [len(signal) / model.sample_rate])
    chunks = task.dynamic_chunks and task.dynamic_chunks(sb.Stage.TEST)
    whole = torch.ones(1)
    count = scorer({sample.uid: row}, corpus.rules(sample.manifest))
    for name, hypothesis in sample.hypotheses.items():
        decoder = task.decoders[name]
        options = {"request": decoder.request, "dynchunktrain_config": chunks}
        outputs = model(signal[None], whole, depth=depth, **options)
        decode = build_decoder(decoder, model, tokenizer, hparams, folder, trust)
        words = corpus.units(tokenizer.decode(decode(outputs)[0]))
        ((_, _, words),) = count([(sample.uid, corpus.units(row["wrd"]), words)]).triples
        if (text := " ".join(words)) != hypothesis:
            raise UserError(
                f"{folder}: {name} transcribes {sample.uid} as {text!r}, and the run as {hypothesis!r}"
            )
