"""Compare both engines of our CTC beam search and SpeechBrain's ``CTCBeamSearcher`` on the same input.

    python benchmarks/beam_search.py --results recipes/LibriSpeech/results/mini/1234
    python benchmarks/beam_search.py          # synthetic log-posteriors, no model needed

Each two decode the whole set alternately. Settings that they do not share keep their defaults. The
engine flashlight-text and SpeechBrain's searcher are left out where flashlight-text or ``kenlm`` and
``pygtrie`` are not installed.
"""

import argparse
import statistics
import tempfile
from functools import partial
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import torch
from pairs import median_ratio, time_pairs
from speechbrain.decoders.ctc import CTCBeamSearcher

from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.dataset import eval_loader, make_dataset
from speechbrain_recursive.data.grammar import sentences
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding import flash
from speechbrain_recursive.decoding.beam import NgramBeam
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.decoding.lexicon import Lexicon
from speechbrain_recursive.decoding.lm import load_ngram
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.decoding.prefix import Options, PrefixSearch
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
    beam = hparams["decoders"]["ngram"]
    return utterances, tokenizer, beam.ngram or folder / f"ngram{beam.order}.arpa"


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


def searches(tokenizer, arpa, options):
    """Build what can be compared here.

    Arguments
    ---------
    tokenizer : object
        Tokenizer of the model that computed the log-posteriors.
    arpa : str or Path
        Word n-gram.
    options : Options
        Width, weight, bonus and threshold.

    Returns
    -------
    dict of str to callable
        From log-posteriors [T, V] to text, by name.
    """
    lexicon = Lexicon(tokenizer, arpa)

    def ours(search):
        return lambda log_probs: tokenizer.decode(
            lexicon.tokens(search(lexicon.frames(log_probs.numpy()))[0])
        )

    found = {"NumPy": ours(PrefixSearch(lexicon, load_ngram(arpa), options))}
    if flash.ENGINE and lexicon.boundary:
        found["flashlight-text"] = ours(flash.FlashlightSearch(lexicon, arpa, options))
    if find_spec("kenlm") and find_spec("pygtrie"):
        stock = CTCBeamSearcher(
            blank_index=tokenizer.blank,
            vocab_list=tokenizer.pieces,
            space_token="|",
            kenlm_model_path=str(arpa),
            alpha=options.weight,
            beta=options.bonus,
            beam_size=options.width,
        )
        found["SpeechBrain"] = lambda log_probs: (
            stock(log_probs[None], torch.ones(1))[0][0].text if len(log_probs) else ""
        )
    return found


def compare(utterances, tokenizer, arpa, width=100, weight=0.5, bonus=1.0, pairs=7):
    """Decode all utterances with each two searches, alternately, and print times and word error rates.

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
        How often each of two decodes all utterances, at least 6.

    Returns
    -------
    dict, dict
        Time of the first over that of the second (pairs.Ratio), by the two names; WER by name.
    """
    utterances, texts, ratios = list(utterances), {}, {}
    beam = NgramBeam(width=width, weight=weight, bonus=bonus)

    def decode(name, search):
        texts[name] = [search(utterance["log_probs"]) for utterance in utterances]

    found = searches(tokenizer, arpa, Options(width, weight, bonus, beam.threshold))
    runs = {name: partial(decode, name, search) for name, search in found.items()}
    decode("greedy", lambda rows: tokenizer.decode(greedy(rows[None], torch.tensor([len(rows)]))[0]))
    print(f"{len(utterances)} utterances, width {width}, {pairs} interleaved pairs")
    for fast, slow in combinations(reversed(runs), 2):
        seconds = time_pairs(runs[fast], runs[slow], pairs=pairs, warmup=1)
        for name, times in zip((fast, slow), seconds, strict=True):
            each = 1000 * statistics.median(times) / len(utterances)
            print(f"{name:16} {each:8.2f} ms an utterance")
        ratios[slow, fast] = median_ratio(*reversed(seconds))
        print(f"{slow}'s time over {fast}'s, median and 95% interval: {ratios[slow, fast]}")
    for name, run in runs.items():
        if name not in texts:
            run()
    wer = {name: word_error_rate(utterances, texts[name]) for name in texts}
    print(", ".join(f"{name} WER {rate:.2f}%" for name, rate in wer.items()))
    if "flashlight-text" in texts:
        same = sum(map(str.__eq__, texts["NumPy"], texts["flashlight-text"]))
        print(f"NumPy and flashlight-text: {same} of {len(utterances)} transcripts are the same")
    return ratios, wer


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
