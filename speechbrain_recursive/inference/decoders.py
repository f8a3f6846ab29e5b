"""The decoders of a results folder: which is the best, and how one is built after the run."""

import json
from collections.abc import Callable, Collection
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
        The results folder; see :func:`finder`.
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
    device, find = next(model.parameters()).device, finder(folder, hparams)

    def load_lm(name):
        return load_peer(find(name), tokenizer, TransformerLM, trust).to(device)

    return decoder.build(Setting(model, tokenizer, Path(folder), None, load_lm, find))


def finder(folder: str | Path, hparams: dict[str, Any]) -> Callable[[str | Path], Path]:
    """A function from the names of files in a results folder's YAML to their paths.

    They are seen from the folder, from where the run was started, or from here.
    """

    def find(name):
        origins = Path(folder), started_in(Path(folder), hparams["output_folder"]), Path()
        return next((path for at in origins if (path := at / name).exists()), Path(name))

    return find


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


def best_decoder(
    folder: str | Path,
    hparams: dict[str, Any],
    depth: Depth | None,
    among: Collection[str] | None = None,
) -> str:
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
    among : collection of str, optional
        Names of decoders to choose from; by default all of the run's.

    Returns
    -------
    str
        Without a report, the decoder that gave the dev error, or the first of those to choose from.

    Raises
    ------
    UserError
        If the report is damaged.
    """
    task, path = hparams["task"], Path(folder) / "report.json"
    among = task.decoders if among is None else among
    default = task.dev_decoder if task.dev_decoder in among else next(iter(among))
    if depth is not None:
        key, value = ("depth", len(depth)) if depth.loops is None else ("loops", depth.loops)
    if not path.is_file():
        return default
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["results"]
        trained, here = {}, {}
        for row in rows:
            rate = row.get("wer", row.get("cer"))
            if row["decoder"] not in among or rate is None:
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
    return min(found, key=lambda name: fmean(found[name]), default=default)
