"""Decode test sets at every loop count, with every decoder that a recipe has."""

import time
from dataclasses import dataclass, field

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
        Each with ``split``, ``loops``, ``decoder``, ``id``, ``reference`` and ``hypothesis``.
    """

    rows: list = field(default_factory=list)
    worst: dict = field(default_factory=dict)
    hypotheses: list = field(default_factory=list)


def evaluate(model, loaders, tokeniser, eval_loops, trained, ngram=None, joint=None, progressbar=True):
    """Decode and count errors.

    Arguments
    ---------
    model : Recogniser
        In eval mode, on its device.
    loaders : dict of str to DataLoader
        By split; batches with ``id``, ``sig``, ``wrd`` and ``unreadable``.
    tokeniser : object
        See :mod:`speechbrain_recursive.data.tokenisers`.
    eval_loops : list of int or dict
        Loop counts to decode at.
    trained : int or dict
        The loop count trained for, at which the joint search runs.
    ngram : NgramBeam, optional
        CTC beam search with an n-gram.
    joint : JointBeam, optional
        Joint CTC/attention search.
    progressbar : bool
        Whether to show one per split and loop count.

    Returns
    -------
    Evaluation
    """
    found = Evaluation()
    decoders = {"greedy": lambda outputs: greedy(outputs.log_probs, outputs.frames)}
    if ngram is not None:
        decoders["ngram"] = lambda outputs: ngram(outputs.log_probs, outputs.frames)
    search = {"joint": lambda outputs: joint(outputs.encoded, outputs.frames)} if joint else {}
    for split, loader in loaders.items():
        for loops in [*eval_loops] if trained in eval_loops else [*eval_loops, trained]:
            bar = tqdm(loader, f"{split}, loops {loops}", disable=not progressbar, dynamic_ncols=True)
            with_search = decoders | (search if loops == trained else {})
            decoded, rtf = _decode(model, bar, loops, with_search)
            for decoder, lines in decoded.items():
                texts = [(uid, words, tokeniser.decode(ids)) for uid, words, ids in lines]
                triples = [(uid, words.split(), text.split()) for uid, words, text in texts]
                found.rows.append(
                    result_row(
                        split,
                        loops,
                        decoder,
                        error_rate(triples),
                        rtf[decoder],
                        trained=loops == trained,
                        supervised=loops == trained,
                    )
                )
                found.hypotheses += [
                    {
                        "split": split,
                        "loops": loops,
                        "decoder": decoder,
                        "id": uid,
                        "reference": words,
                        "hypothesis": text,
                    }
                    for uid, words, text in texts
                ]
                if loops == trained and decoder == "greedy":
                    found.worst[split] = worst_utterances(triples)
    return found


@torch.no_grad()
def _decode(model, batches, loops, decoders):
    """Token ids of every decoder, and its real-time factor with the forward pass counted in."""
    device = next(model.parameters()).device
    found, seconds, audio = {name: [] for name in decoders}, dict.fromkeys(decoders, 0.0), 0.0
    for batch in batches:
        wavs, wav_lens = batch.sig
        audio += float((wav_lens * wavs.shape[1]).sum()) / model.sample_rate
        start = time.perf_counter()
        outputs = model(wavs.to(device), wav_lens.to(device), loops=loops)
        outputs.log_probs = outputs.log_probs.cpu()
        forward = time.perf_counter() - start
        for name, decode in decoders.items():
            start = time.perf_counter()
            tokens = decode(outputs)
            seconds[name] += forward + time.perf_counter() - start
            heard = [[] if bad else ids for ids, bad in zip(tokens, batch.unreadable, strict=True)]
            found[name] += zip(batch.id, batch.wrd, heard, strict=True)
    return found, {name: spent / audio for name, spent in seconds.items()}
