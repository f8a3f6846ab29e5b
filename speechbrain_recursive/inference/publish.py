"""The folder of a published model, built from a finished run and checked against it."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors.torch import save

from speechbrain_recursive.analysis.curves import training_curves
from speechbrain_recursive.data.fingerprint import fingerprint
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding.decoder import Decoder
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, sha256, write_whole
from speechbrain_recursive.hparams import RECIPE, read_recipe
from speechbrain_recursive.hub import fetch
from speechbrain_recursive.inference.adaptive import RESULT
from speechbrain_recursive.inference.card import model_card, public_command
from speechbrain_recursive.inference.decoders import started_in
from speechbrain_recursive.inference.hub import check_name, upload
from speechbrain_recursive.inference.results import MEDIAN_PATHS, open_results
from speechbrain_recursive.inference.sample import check, choose_sample
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

    def find(named):
        origins = results, started_in(results, hparams["output_folder"]), Path()
        return next((path for at in origins if (path := at / named).exists()), None)

    def note(folder):
        """Note the command of another run."""
        if (folder / REPORT).is_file():
            commands.append(public_command(json.loads(read_text(folder / REPORT))["command"]))

    def place(kind, named):
        """Copy what a decoder names; returns its name in the folder."""
        source = find(named)
        if source is None:
            raise UserError(f"{results}: {kind} {named} does not exist any more")
        if str(source) not in placed:
            stem = "lm" if kind == "lm" else source.name
            count = sum(each == stem for each in placed.values())
            placed[str(source)] = stem if not count else f"{count + 1}-{stem}"
            if kind == "lm":
                _copy_model(source, folder / placed[str(source)], language_model_settings)
                note(source)
            else:
                shutil.copyfile(source, folder / placed[str(source)])
        return placed[str(source)]

    start = hparams.get("warm_start")
    if isinstance(start, str) and (source := find(start)) is not None:
        note(source if source.is_dir() else source.parent)
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
