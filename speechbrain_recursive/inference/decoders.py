"""The decoders of a results folder: which is the best, and how one is built after the run."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM

from speechbrain_recursive.data.peers import load_peer
from speechbrain_recursive.decoding.decoder import Decode, Decoder, Setting
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth


def build_decoder(
    decoder: Decoder,
    model: Any,
    tokenizer: Any,
    hparams: dict[str, Any],
    folder: str | Path,
    trust: bool = False,
) -> Decode:
    """Build a decoder with the n-grams and the language model of its run.

    Arguments
    ---------
    decoder : Decoder
        As the run's YAML declares it.
    model, tokenizer, hparams
        From :func:`~speechbrain_recursive.inference.results.open_results`.
    folder : str or pathlib.Path
        The results folder. Its YAML names other files as seen from it, from where the run was started,
        or from here.
    trust : bool
        Whether the YAML of the language model may name any code.

    Returns
    -------
    callable
        See :meth:`Decoder.build`.

    Raises
    ------
    UserError
        If an n-gram or a language model is missing or does not fit.
    """
    device = next(model.parameters()).device

    def find(name):
        origins = folder, started_in(folder, hparams["output_folder"]), Path()
        return next((path for at in origins if (path := at / name).exists()), Path(name))

    def load_lm(name):
        return load_peer(find(name), tokenizer, TransformerLM, trust).to(device)

    folder = Path(folder)
    return decoder.build(Setting(model, tokenizer, folder, None, load_lm, find))


def started_in(folder: Path, output_folder: str) -> Path:
    """The folder in which a run was started, whose results were named relative to it.

    Example
    -------
    >>> str(started_in(Path("/repo/recipes/X/results/mini/1"), "results/mini/1"))
    '/repo/recipes/X'
    """
    folder, named = folder.resolve(), Path(output_folder).parts
    below = not Path(output_folder).is_absolute() and folder.parts[-len(named) :] == named
    return folder.parents[len(named) - 1] if below else Path()


def best_decoder(folder: str | Path, hparams: dict[str, Any], depth: Depth | None) -> str:
    """The decoder with the lowest error rate in a folder's report, on average over its test sets.

    Arguments
    ---------
    folder : str or pathlib.Path
        The results folder.
    hparams : dict
        All hyperparameters.
    depth : Depth, optional
        Where to compare; at the trained depth by default. If the report has no such depth, decoders
        that run at any depth are compared at the trained one.

    Returns
    -------
    str
        Without a report, the decoder that gave the dev error.

    Raises
    ------
    UserError
        If the report is damaged.
    """
    task, path = hparams["task"], Path(folder) / "report.json"
    if depth is not None:
        key, value = ("depth", len(depth)) if depth.loops is None else ("loops", depth.loops)
    if not path.is_file():
        return task.dev_decoder
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["results"]
        trained, here = {}, {}
        for row in rows:
            rate = row.get("wer", row.get("cer"))
            if row["decoder"] not in task.decoders or rate is None:
                continue
            if row["trained"]:
                trained.setdefault(row["decoder"], []).append(rate)
            if depth is not None and row.get(key) == value:
                here.setdefault(row["decoder"], []).append(rate)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is no report, or it is damaged: choose a decoder yourself") from None
    if depth is not None and not here:
        here = {name: each for name, each in trained.items() if not task.decoders[name].trained_only}
    found = trained if depth is None else here
    return min(found, key=lambda name: fmean(found[name]), default=task.dev_decoder)
