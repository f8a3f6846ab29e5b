"""The folder of an exported model, checked against the model that it was made from."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import speechbrain as sb
import torch

from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.data.subwords import SubwordPieces
from speechbrain_recursive.decoding.beam import NgramBeam
from speechbrain_recursive.decoding.greedy import Greedy
from speechbrain_recursive.decoding.lexicon import read_lexicon
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.export.model import LOOPS, WAV, to_onnx, without_offset
from speechbrain_recursive.export.precision import PRECISIONS
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.hub import fetch
from speechbrain_recursive.inference.decoders import best_decoder, finder
from speechbrain_recursive.inference.onnx import ABOUT, FORMAT, LEXICON, MODEL, TOKENS, open_session
from speechbrain_recursive.inference.results import depth_for, median_paths, open_results
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.model import ASRModel

SHERPA_TOKENS = "tokens.txt"
TOLERANCE = {"fp32": 1e-3, "fp16": 0.3}  # between log-posteriors
DAY = 24 * 3600  # seconds


def export(
    source: str | Path,
    out: str | Path,
    precision: str = "fp32",
    sherpa: bool = False,
    loops: int | None = None,
    depth: int | None = None,
    trust: bool = False,
    revision: str | None = None,
) -> dict[str, Any]:
    """Write a trained model as ONNX, with all that its decoders need.

    Arguments
    ---------
    source : str or pathlib.Path
        The results folder of a finished run, a published one, or USER/NAME on the Hub.
    out : str or pathlib.Path
        Where to write: ``model.onnx``, ``export.json``, ``tokenizer.json`` and n-grams, for
        :class:`~speechbrain_recursive.inference.onnx.RecursiveASROnnx`.
    precision : str
        ``fp32``, ``fp16`` or ``int8``; see :mod:`speechbrain_recursive.export.precision`.
    sherpa : bool
        Write ``model.onnx`` of one depth and ``tokens.txt`` instead, for sherpa-onnx.
    loops, depth : int, optional
        That depth; by default the one trained for. Only with ``sherpa``.
    trust : bool
        Whether the folder's YAML may name any code.
    revision : str, optional
        Commit, tag or branch on the Hub.

    Returns
    -------
    dict
        ``folder`` (Path), ``files`` (dict from name to bytes), ``parameters`` that are stored, and
        ``difference``, the greatest between log-posteriors of the graph and of the model on a sound of
        three seconds.

    Raises
    ------
    UserError
        If the model cannot be opened or exported, the folder is in use, or the graph computes something
        else than the model.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision} is none of {', '.join(PRECISIONS)}")
    if not sherpa and (loops, depth) != (None, None):
        raise UserError("loop counts are chosen at run time; only --sherpa fixes one")
    out, folder = Path(out), fetch(source, revision)
    if out.exists() and any(out.iterdir()) and not (out / MODEL).is_file():
        raise UserError(f"{out} holds other files: name a new folder, or one of an earlier export")
    model, tokenizer, hparams = open_results(folder, trust=trust)
    chunks = hparams["task"].dynamic_chunks
    if chunks and chunks(sb.Stage.TEST):
        raise UserError("the model is evaluated in chunks, which an exported graph does not have")
    fixed = None
    if sherpa:
        if not model.embed.ignores_gain:
            raise UserError("sherpa-onnx changes the gain, on which the features of this model depend")
        fixed = _one_depth(model, hparams, depth_for(model, loops, depth, folder), loops, depth)
    graph = PRECISIONS[precision](to_onnx(model, fixed, normalized=sherpa))
    made = out.with_name(f".{out.name}.partial")
    shutil.rmtree(made, ignore_errors=True)
    write_whole(made / MODEL, graph.SerializeToString())
    if sherpa:
        lines = (f"{_sherpa(piece)} {index}\n" for index, piece in enumerate(tokenizer.pieces))
        write_whole(made / SHERPA_TOKENS, "".join(lines))
    else:
        _describe(made, folder, model, tokenizer, hparams, precision)
    difference = _check(made / MODEL, model, fixed, precision)
    shutil.rmtree(out, ignore_errors=True)
    made.rename(out)
    files = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    stored = sum(_stored(model, graph).values())
    return {"folder": out, "files": files, "parameters": stored, "difference": difference}


def _describe(
    out: Path, folder: Path, model: ASRModel, tokenizer: Pieces, hparams: dict, precision: str
):
    """Write what the exported model's class reads besides the graph."""
    schedule, corpus, task = model.schedule, hparams["corpus"], hparams["task"]
    find, decoders, spellings = finder(folder, hparams), {}, {}
    for name, decoder in task.decoders.items():
        if isinstance(decoder, Greedy):
            decoders[name] = {"kind": "greedy"}
        elif isinstance(decoder, NgramBeam):
            ngram = Path(find(decoder.ngram or f"ngram{decoder.order}.arpa"))
            if not ngram.is_file():
                raise UserError(f"decoder {name}: {ngram} does not exist; repeat the run's command")
            place = f"{name}{''.join(ngram.suffixes)}"
            shutil.copyfile(ngram, out / place)
            decoders[name] = {"kind": "ngram", "ngram": place, **asdict(decoder.options)}
            if isinstance(tokenizer, SubwordPieces):
                words = read_lexicon(tokenizer, ngram)
                spellings |= {word: tokenizer.encode(word) for word in words}
    if {"kind": "greedy"} not in decoders.values():
        decoders["greedy"] = {"kind": "greedy"}
    about = {
        "format": FORMAT,
        "precision": precision,
        "sample_rate": model.sample_rate,
        "least_samples": model.embed.least_samples,
        "frame_seconds": model.frame_seconds,
        "side": model.embed.frame_seconds / 2,
        "metric": corpus.metric,
        "durations": Durations.of_run(folder, corpus.train_splits),
        "blocks": [asdict(block) for block in schedule.blocks],
        "loops": _usual(model, task.policy),
        "paths": {str(n): each.schedule.loops for n, each in median_paths(folder, schedule).items()},
        "most_loops": _most_loops(model),
        "decoders": decoders,
        "best": best_decoder(folder, hparams, None, decoders),
    }
    tokenizer.save(out / TOKENS)
    if spellings:
        write_whole(out / LEXICON, json.dumps(spellings, ensure_ascii=False))
    write_whole(out / ABOUT, json.dumps(about, indent=1))


def _usual(model: ASRModel, policy: Any) -> list[tuple[int, dict[str, int]]]:
    """Loop counts by default, each from a number of samples on; longer utterances make more or fewer."""

    def counts(samples):
        return policy.at_inference(model.schedule, [samples / model.sample_rate]).schedule.loops

    def cuts(low, high):
        """Where the counts change after ``low`` and up to ``high``."""
        if counts(low) == counts(high):
            return []
        if high - low == 1:
            return [high]
        middle = (low + high) // 2
        return cuts(low, middle) + cuts(middle, high)

    return [(cut, counts(cut)) for cut in [0, *cuts(0, DAY * model.sample_rate)]]


def _most_loops(model):
    """The most loops of each block that some hook cannot go beyond."""
    found = {}
    for block in model.schedule.blocks:
        limits = [hook.most_loops for hook in model.encoder.hooks_of(block.name) if hook.most_loops]
        found |= {block.name: min(limits)} if limits else {}
    return found


def _one_depth(model, hparams, asked, loops, depth):
    """The fixed depth of a graph."""
    if (loops, depth) != (None, None):
        return asked
    policy = hparams["task"].policy
    usual = {policy.at_inference(model.schedule, [seconds]) for seconds in (0.0, float(DAY))}
    if len(usual) > 1:
        raise UserError("the model's loop count depends on the duration: fix one with --loops")
    return usual.pop()


def _sherpa(piece):
    """How sherpa-onnx spells a piece: the blank, and the space between words."""
    return {"<blank>": "<blk>", "|": "\u2581"}.get(piece, piece)


def _stored(model, graph):
    """Numbers of values of the model's parameters in a graph, by name."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    names = {weight.name for weight in graph.graph.initializer}
    stems = {name.removesuffix(end) for name in names for end in ("", ".half", ".int8", "_quantized")}
    return {name: size for name, size in sizes.items() if name in stems}


@torch.no_grad()
def _check(path: Path, model: ASRModel, fixed: Depth | None, precision: str) -> float:
    """The greatest difference between log-posteriors, at the usual depth and for one loop.

    Raises
    ------
    UserError
        If it is greater than rounding explains.
    """
    session, seen = open_session(path), 0.0
    rng, time = np.random.default_rng(0), np.arange(3 * model.sample_rate) / model.sample_rate
    sound = np.sin(2 * np.pi * (200 + 300 * time) * time) + 0.1 * rng.standard_normal(len(time))
    wav = torch.from_numpy(sound.astype(np.float32))[None]
    read = wav if fixed is None else without_offset(wav, model.sample_rate)
    for depth in [fixed] if fixed else {model.depth(), Depth(model.schedule.with_loops(1))}:
        feeds = {WAV: wav.numpy()}
        if fixed is None and (counts := depth.schedule.loops):
            feeds[LOOPS] = np.array([*counts.values()], dtype=np.int64)
        ours = model(read, torch.ones(1), depth=depth).log_probs.numpy()
        seen = max(seen, float(np.abs(session.run(None, feeds)[0] - ours).max()))
    if seen > TOLERANCE.get(precision, np.inf):
        raise UserError(
            f"the graph differs from the model by {seen:.2g} in its log-posteriors: a hook or a part "
            "that branches on values or sizes cannot be exported"
        )
    return seen
