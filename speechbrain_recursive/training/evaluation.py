"""Decode test sets at every loop count, with every decoder that a recipe has."""

import time
from dataclasses import dataclass, field
from functools import partial

import torch
from tqdm import tqdm

from speechbrain_recursive.analysis.report import result_row
from speechbrain_recursive.analysis.wer import error_rate, worst_utterances
from speechbrain_recursive.decoding.greedy import greedy


@dataclass
class Evaluation:
    """What an evaluation found.

    Arguments
    ---------
    rows : list of dict
        As :func:`speechbrain_recursive.analysis.report.result_row` makes them.
    worst : dict of str to list
        By split, the worst utterances of greedy decoding at the trained loop count.
    hypotheses : list of dict
        Each with ``split``, ``loops``, ``decoder``, ``id``, ``reference`` and ``hypothesis``, the
        last two with a space between the units that errors are counted in (words or characters).
    """

    rows: list = field(default_factory=list)
    worst: dict = field(default_factory=dict)
    hypotheses: list = field(default_factory=list)


def evaluate(
    model,
    loaders,
    tokenizer,
    eval_loops,
    policy,
    ngram=None,
    joint=None,
    chunks=None,
    progressbar=True,
    supervises=None,
):
    """Decode and count errors.

    Arguments
    ---------
    model : ASRModel
        In eval mode, on its device.
    loaders : dict of str to DataLoader
        By split; batches with ``id``, ``sig``, ``wrd`` and ``unreadable``.
    tokenizer : object
        See :mod:`speechbrain_recursive.data.tokenizers`.
    eval_loops : list of int or dict
        Loop counts to decode at.
    policy : Fixed, Proportional, Growing, LogNormalPoisson or ByBlock
        Loop counts trained for, see :mod:`speechbrain_recursive.nn.loops`. They are decoded at as well,
        with the joint search, and reported as ``policy.trained``.
    ngram : NgramBeam, optional
        CTC beam search with an n-gram.
    joint : JointBeam, optional
        Joint CTC/attention search.
    chunks : DynChunkTrainConfig, optional
        Chunked attention and convolution, as a streaming ASR model would have it.
    progressbar : bool
        Whether to show one per split and loop count.
    supervises : callable, optional
        Whether a loop count had a loss in training; the policy's word by default.

    Returns
    -------
    Evaluation
    """
    found, trained = Evaluation(), policy.trained
    decoders = {"greedy": lambda outputs: greedy(outputs.log_probs, outputs.frames)}
    if ngram is not None:
        decoders["ngram"] = lambda outputs: ngram(outputs.log_probs, outputs.frames)
    search = {"joint": lambda outputs: joint(outputs.encoded, outputs.frames)} if joint else {}
    counts = {model.at(loops): loops for loops in (*eval_loops, trained)}  # of equal ones, the last
    for split, loader in loaders.items():
        for loops in counts.values():
            bar = tqdm(loader, f"{split}, loops {loops}", disable=not progressbar, dynamic_ncols=True)
            with_search = decoders | (search if loops == trained else {})
            of_batch = policy.at_inference if loops == trained else partial(_same, loops)
            decoded, rtf = _decode(model, bar, of_batch, chunks, with_search)
            for decoder, lines in decoded.items():
                triples = [
                    (uid, tokenizer.units(text), tokenizer.units(tokenizer.decode(ids)))
                    for uid, text, ids in lines
                ]
                found.rows.append(
                    result_row(
                        split,
                        loops,
                        decoder,
                        error_rate(triples),
                        rtf[decoder],
                        trained=loops == trained,
                        supervised=(supervises or policy.supervises)(loops),
                        metric=tokenizer.metric,
                    )
                )
                found.hypotheses += [
                    {
                        "split": split,
                        "loops": loops,
                        "decoder": decoder,
                        "id": uid,
                        "reference": " ".join(reference),
                        "hypothesis": " ".join(hypothesis),
                    }
                    for uid, reference, hypothesis in triples
                ]
                if loops == trained and decoder == "greedy":
                    found.worst[split] = worst_utterances(triples)
    return found


@torch.no_grad()
def _decode(model, batches, loops, chunks, decoders):
    """Token ids of every decoder, and its real-time factor with the forward pass counted in."""
    device = next(model.parameters()).device
    found, seconds, audio = {name: [] for name in decoders}, dict.fromkeys(decoders, 0.0), 0.0
    for batch in batches:
        wavs, wav_lens = batch.sig
        lengths = wav_lens * wavs.shape[1] / model.sample_rate
        audio += float(lengths.sum())
        start = time.perf_counter()
        counts = loops(lengths.to(device))
        outputs = model(wavs.to(device), wav_lens.to(device), loops=counts, dynchunktrain_config=chunks)
        outputs.log_probs = outputs.log_probs.cpu()
        forward = time.perf_counter() - start
        for name, decode in decoders.items():
            start = time.perf_counter()
            tokens = decode(outputs)
            seconds[name] += forward + time.perf_counter() - start
            heard = [[] if bad else ids for ids, bad in zip(tokens, batch.unreadable, strict=True)]
            found[name] += zip(batch.id, batch.wrd, heard, strict=True)
    return found, {name: spent / audio for name, spent in seconds.items()}


def _same(loops, seconds):
    return loops
