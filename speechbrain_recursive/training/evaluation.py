"""Decode test sets at every depth, with every decoder of a recipe."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from speechbrain_recursive.analysis.report import result_row
from speechbrain_recursive.analysis.wer import score, worst_utterances
from speechbrain_recursive.bars import Bar
from speechbrain_recursive.decoding.decoder import Decoder
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request


class Point(NamedTuple):
    """A depth to evaluate at.

    ``depth`` is what reports describe, ``of_batch`` gives the depth of a batch from its durations in
    seconds; ``trained`` marks the depth that was trained for, ``supervised`` one that had a loss.
    """

    depth: Depth
    of_batch: Callable[[list[float]], Depth]
    trained: bool = False
    supervised: bool = False


class Evaluation(NamedTuple):
    """What an evaluation found.

    Arguments
    ---------
    rows : list of dict
        As :func:`speechbrain_recursive.analysis.report.result_row` makes them.
    worst : dict of str to list
        By split, the worst utterances of the dev decoder at the trained depth.
    hypotheses : list of dict
        Each with ``split``, ``label``, ``decoder``, ``id``, ``reference`` and ``hypothesis``, the
        last two with a space between the units that errors are counted in.
    """

    rows: list[dict]
    worst: dict[str, list]
    hypotheses: list[dict]


def evaluate(
    model: torch.nn.Module,
    loaders: Mapping[str, Any],
    points: Mapping[str, Point],
    decoders: Mapping[str, tuple[Decoder, Callable]],
    dev_decoder: str,
    triples: Callable,
    metric: str = "wer",
    chunks: Any = None,
    scorers: Mapping[str, Callable] = MappingProxyType({}),
    subset: Callable[[str, str], str | None] = lambda split, uid: None,
) -> Evaluation:
    """Decode and count errors.

    Arguments
    ---------
    model : ASRModel
        In eval mode, on its device.
    loaders : mapping of str to DataLoader
        By split; batches with ``id``, ``sig``, ``wrd`` and ``unreadable``.
    points : mapping of str to Point
        Depths by label.
    decoders : mapping of str to (Decoder, callable)
        By name, a decoder and what it built.
    dev_decoder : str
        The decoder whose worst utterances are listed.
    triples : callable
        From a batch and its token ids to (id, reference, hypothesis) of each utterance.
    metric : str
        ``wer`` or ``cer``.
    chunks : DynChunkTrainConfig, optional
        Chunked attention and convolution, as for streaming.
    scorers : mapping of str to callable, optional
        By split, from triples to :class:`~speechbrain_recursive.analysis.wer.Scored`, where it is not
        :func:`~speechbrain_recursive.analysis.wer.score`.
    subset : callable
        ``(split, id)``: the subset of the split that an utterance is in, or None. Subsets have rows and
        hypotheses of their own.
    """
    found = Evaluation([], {}, [])
    for split, loader in loaders.items():
        for label, point in points.items():
            here = {n: d for n, d in decoders.items() if point.trained or not d[0].trained_only}
            bar = Bar(loader, f"{split}, {label}")
            decoded, rtf = _decode(model, bar, point.of_batch, chunks, here, triples)
            for name, lines in decoded.items():
                for part, some in _parts(split, lines, subset).items():
                    rate, lines, more = scorers.get(split, score)(some)
                    row = part, point.depth, name, rate, rtf[name], point.trained, point.supervised
                    found.rows.append(result_row(*row, metric, label) | more)
                    about = {"split": part, "label": label, "decoder": name}
                    found.hypotheses.extend(
                        {**about, "id": uid, "reference": " ".join(one), "hypothesis": " ".join(other)}
                        for uid, one, other in lines
                    )
                    if point.trained and name == dev_decoder:
                        found.worst[part] = worst_utterances(lines)
    return found


def _parts(split, lines, subset):
    """Triples of a split, and of each of its subsets, by name."""
    parts = {split: lines}
    for line in lines:
        name = subset(split, line[0])
        if name is not None:
            parts.setdefault(f"{split}_{name}", []).append(line)
    return parts


def requests_of(decoders: Iterable[Decoder]) -> Request:
    """What any of some decoders reads."""
    return reduce(or_, (decoder.request for decoder in decoders), Request())


def durations(signals: tuple[torch.Tensor, torch.Tensor], sample_rate: int) -> list[float]:
    """Seconds of each utterance, from waveforms [B, S] and relative lengths [B], to the sample."""
    wavs, wav_lens = signals
    return (torch.round(wav_lens.double() * wavs.shape[1]) / sample_rate).tolist()


@torch.no_grad()
def _decode(model, batches, of_batch, chunks, decoders, triples):
    """Triples of every decoder, and its real-time factor with the forward pass counted in."""
    device = next(model.parameters()).device
    request = requests_of(decoder for decoder, _ in decoders.values())
    found, seconds, audio = {name: [] for name in decoders}, dict.fromkeys(decoders, 0.0), 0.0
    for batch in batches:
        wavs, wav_lens = batch.sig
        lengths = durations(batch.sig, model.sample_rate)
        audio += sum(lengths)
        start = time.perf_counter()
        outputs = model(
            wavs.to(device),
            wav_lens.to(device),
            depth=of_batch(lengths),
            request=request,
            dynchunktrain_config=chunks,
        )
        outputs.heads = {name: head.cpu() for name, head in outputs.heads.items()}
        forward = time.perf_counter() - start
        for name, (_, decode) in decoders.items():
            start = time.perf_counter()
            tokens = decode(outputs)
            seconds[name] += forward + time.perf_counter() - start
            found[name] += triples(batch, tokens)
    return found, {name: spent / audio for name, spent in seconds.items()}
