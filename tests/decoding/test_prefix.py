"""Both engines of the n-gram beam against an exhaustive search, and against each other."""

import itertools
import math
import random
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from speechbrain_recursive.data.grammar import sentences
from speechbrain_recursive.data.tokenizers import CharacterTokenizer, SentencePieceTokenizer
from speechbrain_recursive.decoding import flash
from speechbrain_recursive.decoding.lexicon import Lexicon
from speechbrain_recursive.decoding.lm import load_ngram
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.decoding.prefix import Options, PrefixSearch

needs_flashlight = pytest.mark.skipif(
    not flash.ENGINE, reason="flashlight-text and kenlm are not installed"
)
UNLIMITED = {"width": 100_000, "threshold": 1e5, "tokens": 100}


def numpy_search(lexicon, arpa, options):
    return PrefixSearch(lexicon, load_ngram(arpa), options)


def flashlight_search(lexicon, arpa, options):
    return flash.FlashlightSearch(lexicon, arpa, options)


def log_softmax(logits):
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def splits(labels, spellings):
    """All sequences of words, as indices, whose spelling is these labels."""
    if not labels:
        yield ()
    for word, spelling in enumerate(spellings):
        if labels[: len(spelling)] == spelling:
            yield from ((word, *rest) for rest in splits(labels[len(spelling) :], spellings))


def readings(labels, lexicon):
    """All sequences of words that a path's labels may stand for."""
    if not lexicon.boundary:
        return splits(labels, lexicon.spellings)
    runs = itertools.groupby(labels, lambda label: label in lexicon.boundary)
    words = [[*run, *lexicon.boundary] for bar, run in runs if not bar]
    return itertools.product(*([w for w, s in enumerate(lexicon.spellings) if s == x] for x in words))


def every_sentence(log_probs, lexicon, ngram, options):
    """Score of each sequence of words, by enumeration of all paths of labels."""
    mass = defaultdict(lambda: -math.inf)
    for path in itertools.product(range(lexicon.size), repeat=len(log_probs)):
        labels = tuple(label for label, _ in itertools.groupby(path) if label != lexicon.blank)
        score = sum(row[label] for row, label in zip(log_probs.tolist(), path, strict=True))
        mass[labels] = np.logaddexp(mass[labels], score)
    scores = defaultdict(lambda: -math.inf)
    for labels, log_prob in mass.items():
        for words in readings([*labels], lexicon):
            scores[words] = np.logaddexp(scores[words], log_prob)
    for words in scores:
        log_prob = math.log(10) * ngram.score([lexicon.words[word] for word in words])
        scores[words] += options.weight * log_prob + options.bonus * len(words)
    return scores


class Letters(SimpleNamespace):
    """A tokenizer without boundary whose words have several tokens."""

    def encode(self, word):
        return [self.pieces.index(letter) for letter in word]


TOKENIZERS = {
    "boundary": CharacterTokenizer("AB", seq2seq=False),
    "boundary and marks": CharacterTokenizer("AB"),
    "no boundary": Letters(pieces=["<blank>", "<unk>", "A", "B"], blank=0, unk=1),
    "characters": CharacterTokenizer("ABC", seq2seq=False, boundary=False),
}


@pytest.mark.parametrize(
    ("search", "kind"),
    [
        *((numpy_search, kind) for kind in TOKENIZERS),
        *(
            pytest.param(flashlight_search, kind, marks=needs_flashlight)
            for kind in ("boundary", "boundary and marks")
        ),
    ],
)
@pytest.mark.parametrize("seed", range(40))
def test_an_unlimited_beam_finds_the_best_of_all_sentences(seed, kind, search, tmp_path, slow_ngram):
    rng, tokenizer = random.Random(seed), TOKENIZERS[kind]
    longest, letters = (1, "ABC") if kind == "characters" else (3, "AB")
    words = ["".join(rng.choices(letters, k=rng.randint(1, longest))) for _ in range(5)]
    text = [" ".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(rng.randint(2, 8))]
    arpa = estimate_ngram(text, tmp_path / "lm.arpa", order=2 + seed % 3)
    lexicon = Lexicon(tokenizer, arpa)
    shape = rng.randint(1, 4 if kind == "boundary and marks" else 6), lexicon.size
    noise = np.random.default_rng(seed).normal(scale=rng.choice([0.5, 2.0, 5.0]), size=shape)
    log_probs = log_softmax(noise)
    weight, bonus = rng.choice([-0.3, 0.0, 0.5, 1.3]), rng.choice([-1.0, 0.0, 1.0, 4.0])
    options = Options(weight=weight, bonus=bonus, **UNLIMITED)
    found, score = search(lexicon, arpa, options)(lexicon.frames(log_probs))
    scores = every_sentence(log_probs, lexicon, slow_ngram(arpa), options)
    assert score == pytest.approx(max(scores.values()), abs=1e-5)
    assert scores[tuple(found)] == pytest.approx(score, abs=1e-5)


def test_two_readings_of_the_same_tokens_are_two_sentences(tmp_path):
    arpa = estimate_ngram(["A B", "AB"], tmp_path / "lm.arpa", order=2)
    lexicon = Lexicon(TOKENIZERS["no boundary"], arpa)
    for bonus, words in ((5.0, ["A", "B"]), (-5.0, ["AB"])):
        search = numpy_search(lexicon, arpa, Options(weight=1.0, bonus=bonus, **UNLIMITED))
        found, _ = search(log_softmax(20 * np.eye(4)[[2, 3]]))
        assert [lexicon.words[word] for word in found] == words


def spoken(tokens, size, rng, confused=0.1, peak=7.0, noise=1.5):
    """Posteriors [T, V] that look trained: some frames for each token, blanks between them."""
    frames = []
    for token in tokens:
        frames += [0] * rng.integers(frames[-1:] == [token], 3) + [token] * rng.integers(1, 4)
    logits = noise * rng.normal(size=(len(frames), size))
    logits[np.arange(len(frames)), frames] += peak
    rivals = np.flatnonzero(rng.random(len(frames)) < confused)
    logits[rivals, rng.integers(2, size, len(rivals))] += peak
    return log_softmax(logits)


@needs_flashlight
@pytest.mark.parametrize(
    ("width", "threshold", "weight", "bonus"),
    [(100, 10.0, 0.5, 1.0), (20, 15.0, 1.0, 0.0), (5, 10.0, 0.5, 1.0), (100, 5.0, 1.5, -2.0)],
)
def test_the_engines_agree_at_every_width(width, threshold, weight, bonus, tmp_path):
    text = sentences(400, seed=0)
    arpa = estimate_ngram(text[40:], tmp_path / "lm.arpa", order=4)
    tokenizer = CharacterTokenizer.from_texts(text, seq2seq=False)
    lexicon, options = Lexicon(tokenizer, arpa), Options(width, weight, bonus, threshold)
    theirs, ours = (make(lexicon, arpa, options) for make in (flashlight_search, numpy_search))
    rng = np.random.default_rng(0)
    for sentence in text[:40]:
        frames = lexicon.frames(spoken(tokenizer.encode(sentence), lexicon.size, rng))
        (their_words, their_score), (our_words, our_score) = theirs(frames), ours(frames)
        assert our_words == their_words
        assert our_score == pytest.approx(their_score, abs=1e-5, rel=1e-6)


@pytest.mark.parametrize("kind", ["subwords", "characters"])
def test_what_was_said_comes_out_without_a_boundary(kind, tmp_path):
    text = sentences(400, seed=0)
    if kind == "subwords":
        tokenizer = SentencePieceTokenizer.from_texts(text, vocab_size=60, seq2seq=False)
        units = text
    else:
        tokenizer = CharacterTokenizer.from_texts(text, seq2seq=False, boundary=False)
        units = [" ".join(line.replace(" ", "")) for line in text]
    arpa = estimate_ngram(units, tmp_path / "lm.arpa", order=3)
    lexicon = Lexicon(tokenizer, arpa)
    search = numpy_search(lexicon, arpa, Options(100, 0.5, 1.0, 10.0))
    rng = np.random.default_rng(0)
    for said in units[:20]:
        words, _ = search(
            lexicon.frames(spoken(tokenizer.encode(said), lexicon.size, rng, confused=0.0, peak=10.0))
        )
        assert " ".join(lexicon.words[word] for word in words) == said
