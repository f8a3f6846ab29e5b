"""Compare our CTC beam search with SpeechBrain's ``CTCBeamSearcher``: same input, n-gram and weights.

    python benchmarks/beam_search.py --results recipes/LibriSpeech/results/mini/1234
    python benchmarks/beam_search.py          # synthetic log-posteriors, no model needed

The two decode the whole set alternately. Settings that they do not share keep their defaults. Needs
``pygtrie``, which SpeechBrain's KenLM scorer imports.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from pairs import median_ratio, time_pairs
from speechbrain.decoders.ctc import CTCBeamSearcher

from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.dataset import eval_loader, make_dataset
from speechbrain_recursive.data.grammar import sentences
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding.beam import NgramBeam
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.nn.model import ASRModel


@torch.no_grad()
def load_log_probs(folder):
    """Compute the log-posteriors of a finished run's first test set, at the model's own depth.

    Arguments
    ---------
    folder : str or Path
        A results folder.

    Returns
    -------
    list of dict, object, Path
        Utterances with id (str), log_probs [T, V] and reference (str); tokenizer; n-gram file.
    """
    folder = Path(folder)
    model, hparams = load_trained(folder, ASRModel)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    manifest = folder / "manifests" / f"{hparams['corpus'].test_splits[0]}.csv"
    utterances = []
    for batch in eval_loader(make_dataset([manifest], tokenizer)):
        outputs = model(*batch.sig)
        for name, rows, count, words in zip(
            batch.id, outputs.log_probs, outputs.frames, batch.wrd, strict=True
        ):
            utterances.append({"id": name, "log_probs": rows[:count].clone(), "reference": words})
    return utterances, tokenizer, hparams["decoders"]["ngram"].ngram or folder / "ngram.arpa"


def synthetic(count, folder, confusion=0.03, noise=1.5, peak=9.0):
    """Draw log-posteriors that look trained: one or two frames per letter with blanks between them.

    Arguments
    ---------
    count : int
        Number of utterances.
    folder : str or Path
        Where the n-gram is written; it is estimated from other sentences of the same grammar.
    confusion : float
        Fraction of frames in which another letter is as likely as the right one.
    noise : float
        Standard deviation of the logits.
    peak : float
        Added to the logit of the right letter.

    Returns
    -------
    list of dict, object, Path
        As :func:`load_log_probs`.
    """
    torch.manual_seed(0)
    tokenizer = CharacterTokenizer.from_texts(sentences(4000, seed=0))
    said = sentences(count + 4000, seed=0)
    arpa = estimate_ngram(said[count:], Path(folder) / "lm.arpa", order=4)
    utterances = []
    for name, sentence in enumerate(said[:count]):
        frames = []
        for token in tokenizer.encode(sentence):
            frames += [token] * int(torch.randint(1, 3, ())) + [0] * int(torch.randint(1, 3, ()))
        logits = noise * torch.randn(len(frames), len(tokenizer))
        logits[torch.arange(len(frames)), frames] += peak
        rivals = (torch.rand(len(frames)) < confusion).nonzero()[:, 0]
        logits[rivals, torch.randint(4, len(tokenizer), (len(rivals),))] += peak
        logits[:, 1:4] -= 2 * peak
        utterances.append({"id": str(name), "log_probs": logits.log_softmax(-1), "reference": sentence})
    return utterances, tokenizer, arpa


def compare(utterances, tokenizer, arpa, width=100, weight=0.5, bonus=1.0, pairs=7):
    """Decode all utterances with both, alternately, and print times and word error rates.

    Arguments
    ---------
    utterances : iterable of dict
        Each with id (str), log_probs [T, V] and reference (str).
    tokenizer : object
        Tokenizer of the model that computed the log-posteriors.
    arpa : str or Path
        Word n-gram.
    width : int
        Beam width.
    weight : float
        Weight of the n-gram.
    bonus : float
        Word bonus.
    pairs : int
        How often each of the two decodes all utterances, at least 6.

    Returns
    -------
    pairs.Ratio, dict of str to float
        SpeechBrain's time over ours; WER of ``ours``, ``SpeechBrain`` and ``greedy``.
    """
    utterances = list(utterances)
    decoder = NgramBeam(arpa, width=width, weight=weight, bonus=bonus)
    beam = decoder.build(SimpleNamespace(tokenizer=tokenizer))
    stock = CTCBeamSearcher(
        blank_index=tokenizer.blank,
        vocab_list=tokenizer.pieces,
        space_token="|",
        kenlm_model_path=str(arpa),
        alpha=weight,
        beta=bonus,
        beam_size=width,
    )
    texts = {}

    def decode(name, one):
        texts[name] = [
            one(u["log_probs"][None], torch.tensor([len(u["log_probs"])])) for u in utterances
        ]

    def ours():
        decode(
            "ours",
            lambda log_probs, frames: tokenizer.decode(
                beam(SimpleNamespace(log_probs=log_probs, frames=frames))[0]
            ),
        )

    def theirs():
        decode("SpeechBrain", lambda log_probs, frames: stock(log_probs)[0][0].text)

    our_seconds, their_seconds = time_pairs(ours, theirs, pairs=pairs, warmup=1)
    decode(
        "greedy",
        lambda log_probs, frames: tokenizer.decode(greedy(log_probs, frames, tokenizer.blank)[0]),
    )
    wer = {name: word_error_rate(utterances, found) for name, found in texts.items()}
    print(f"{len(utterances)} utterances, width {width}, {pairs} interleaved pairs")
    print(f"greedy WER {wer['greedy']:.2f}%")
    for name, seconds in (("ours", our_seconds), ("SpeechBrain", their_seconds)):
        each = 1000 * statistics.median(seconds) / len(utterances)
        print(f"{name:12} {each:8.2f} ms an utterance, WER {wer[name]:.2f}%")
    ratio = median_ratio(their_seconds, our_seconds)
    print(f"SpeechBrain's time over ours, median and 95% interval: {ratio}")
    return ratio, wer


def word_error_rate(utterances, texts):
    """WER in percent of one text per utterance."""
    return error_rate(
        (utterance["id"], utterance["reference"].split(), text.split())
        for utterance, text in zip(utterances, texts, strict=True)
    ).wer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", help="results folder; without one, synthetic log-posteriors")
    parser.add_argument("--utterances", type=int, default=100, help="how many, at most")
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--weight", type=float, default=0.5)
    parser.add_argument("--bonus", type=float, default=1.0)
    parser.add_argument("--pairs", type=int, default=7, help="at least 6")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = (
            load_log_probs(options.results) if options.results else synthetic(options.utterances, folder)
        )
        compare(
            data[0][: options.utterances],
            *data[1:],
            options.width,
            options.weight,
            options.bonus,
            options.pairs,
        )
