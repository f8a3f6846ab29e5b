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
from speechbrain_recursive.decoding import beam
from speechbrain_recursive.decoding.lexicon import Lexicon
from speechbrain_recursive.decoding.lm import load_ngram
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.decoding.prefix import Options, PrefixSearch

needs_flashlight = pytest.mark.skipif(
    beam.flash is None, reason="flashlight-text and kenlm are not installed"
)
ENGINES = [
    "NumPy",
    pytest.param("flashlight", marks=needs_flashlight),
]


def engine_of(name, lexicon, arpa, options):
    if name == "NumPy":
        return PrefixSearch(lexicon, load_ngram(arpa), options)
    return beam.flash.FlashlightSearch(lexicon, arpa, options)


def read(arpa):
    """{words: (log10 probability, log10 back-off)} of an ARPA file."""
    rows = [line.split("\t") for line in arpa.read_text(encoding="utf-8").split("\n") if "\t" in line]
    return {tuple(row[1].split(" ")): (float(row[0]), float([*row, 0][2])) for row in rows}


def walk(grams, history, word):
    """log10 p(word | history), as the ARPA format defines it."""
    if (*history, word) in grams:
        return grams[*history, word][0]
    return grams.get(history, (0, 0))[1] + walk(grams, history[1:], word)


def sentence_score(grams, words):
    """log10 probability of a sentence with its end."""
    order = max(map(len, grams))
    text = ("<s>", *words, "</s>")
    return sum(walk(grams, text[max(0, i - order + 1) : i], text[i]) for i in range(1, len(text)))


def splits(tokens, spellings):
    """All sequences of words, as indices, that tokens are the spelling of."""
    if not tokens:
        yield ()
    for word, spelling in enumerate(spellings):
        if tokens[: len(spelling)] == spelling:
            for rest in splits(tokens[len(spelling) :], spellings):
                yield (word, *rest)


def every_sentence(log_probs, lexicon, arpa, options):
    """Score of each sequence of words that some path of labels spells, by enumeration of all paths."""
    mass, grams = defaultdict(lambda: -math.inf), read(arpa)
    for path in itertools.product(range(lexicon.size), repeat=len(log_probs)):
        labels = [label for label, _ in itertools.groupby(path) if label != lexicon.blank]
        mass[tuple(labels)] = np.logaddexp(
            mass[tuple(labels)], sum(log_probs[t, label] for t, label in enumerate(path))
        )
    found = defaultdict(lambda: -math.inf)
    for labels, log_prob in mass.items():
        if lexicon.boundary:
            parts = [
                list(part)
                for bar, part in itertools.groupby(labels, lambda label: label in lexicon.boundary)
                if not bar
            ]
            options_of = [
                [w for w, s in enumerate(lexicon.spellings) if s[:-1] == part] for part in parts
            ]
            sequences = itertools.product(*options_of)
        else:
            sequences = splits(list(labels), lexicon.spellings)
        for words in sequences:
            found[words] = np.logaddexp(found[words], log_prob)
    return {
        words: log_prob
        + options.weight * math.log(10) * sentence_score(grams, [lexicon.words[w] for w in words])
        + options.bonus * len(words)
        for words, log_prob in found.items()
    }


class Pieces(SimpleNamespace):
    """A tokenizer without boundary whose units are the letters of its pieces."""

    def encode(self, word):
        return [self.pieces.index(letter) for letter in word]


LETTERS = Pieces(pieces=["<blank>", "<unk>", "A", "B", "C"], blank=0, unk=1)


def random_case(seed, boundary):
    """A random text, posteriors [T, V], lexicon and options."""
    rng = random.Random(seed)
    words = [
        "".join(rng.choices("ABC"[: 2 + boundary], k=rng.randint(1, 3)))
        for _ in range(rng.randint(2, 5))
    ]
    text = [" ".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(rng.randint(2, 8))]
    tokenizer = CharacterTokenizer("ABC", seq2seq=False) if boundary else LETTERS
    frames = rng.randint(1, 6)
    noise = np.random.default_rng(seed).normal(
        scale=rng.choice([0.5, 2.0, 5.0]), size=(frames, len(tokenizer.pieces))
    )
    log_probs = noise - np.logaddexp.reduce(noise, axis=1, keepdims=True)
    options = Options(100_000, rng.choice([0.0, 0.5, 1.3]), rng.choice([-1.0, 0.0, 1.0, 4.0]), 1e5)
    return text, tokenizer, log_probs.astype(np.float32), options


@pytest.mark.parametrize(
    ("engine", "boundary"),
    [("NumPy", True), ("NumPy", False), pytest.param("flashlight", True, marks=needs_flashlight)],
)
@pytest.mark.parametrize("seed", range(40))
def test_an_unlimited_beam_finds_the_best_of_all_sentences(seed, boundary, engine, tmp_path):
    text, tokenizer, log_probs, options = random_case(seed, boundary)
    arpa = estimate_ngram(text, tmp_path / "lm.arpa", order=2 + seed % 3)
    lexicon = Lexicon(tokenizer, arpa)
    words, score = engine_of(engine, lexicon, arpa, options)(lexicon.frames(log_probs))
    scores = every_sentence(log_probs.astype(float), lexicon, arpa, options)
    assert score == pytest.approx(max(scores.values()), abs=1e-5)
    assert scores[tuple(words)] == pytest.approx(score, abs=1e-5)
