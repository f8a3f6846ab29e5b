"""N-grams against the definition of the ARPA format, and against KenLM where it is installed."""

import gzip
import math
import random
import sys

import numpy as np
import pytest

from speechbrain_recursive.data.grammar import sentences
from speechbrain_recursive.decoding.arpa import BINARY
from speechbrain_recursive.decoding.lm import BinaryNgram, Ngram, load_ngram
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError

# "A B C" and "B <unk> A" are there without "B C" and "<unk> A"; some n-grams have no back-off weight.
HOLES = """\
\\data\\
ngram 1=7
ngram 2=8
ngram 3=3

\\1-grams:
-1.5\t<unk>\t-0.25
-99\t<s>\t-0.5
-1.0\t</s>
-0.8\tA\t-0.3
-0.9\tB\t-0.4
-1.1\tC\t-0.2
-1.2\tD

\\2-grams:
-0.4\t<s> A\t-0.15
-0.6\tA B\t-0.35
-0.7\tC D
-0.8\tD A\t-0.45
-1.3\tD D
-0.35\tC A
-0.5\tD </s>
-0.3\tB <unk>\t-0.1

\\3-grams:
-0.2\tA B C
-0.25\t<s> A B
-0.05\tB <unk> A

\\end\\
"""


@pytest.fixture(scope="module")
def texts():
    """Pairs of an ARPA file's text and sentences with words that it lacks."""
    rng = random.Random(0)
    return [" ".join(rng.choices(["A", "B", "C", "D", "Z"], k=rng.randint(0, 7))) for _ in range(200)]


def score(ngram, sentence, bos=True):
    """log10 probability of a sentence with its end."""
    context, total = np.array([ngram.start if bos else ngram.empty]), 0.0
    for word in ngram.ids([*sentence.split(), "</s>"]):
        log_prob, context = ngram.score(context, np.array([word]))
        total += log_prob[0]
    return total / math.log(10)


def written(text, folder):
    path = folder / "lm.arpa"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(params=["holes", "no <unk>", "<UNK>", "estimated"])
def arpa(request, texts, tmp_path):
    if request.param == "estimated":
        return estimate_ngram(texts[:40], tmp_path / "lm.arpa", order=4)
    if request.param == "<UNK>":
        return written(HOLES.replace("<unk>", "<UNK>"), tmp_path)
    if request.param == "no <unk>":
        kept = [line for line in HOLES.split("\n") if "<unk>" not in line]
        counts = {"ngram 1=7": "ngram 1=6", "ngram 2=8": "ngram 2=7", "ngram 3=3": "ngram 3=2"}
        return written("\n".join(counts.get(line, line) for line in kept), tmp_path)
    return written(HOLES, tmp_path)


@pytest.mark.parametrize("bos", [True, False])
def test_scores_equal_the_definition(bos, texts, slow_ngram, tmp_path):
    for path in (
        written(HOLES, tmp_path),
        estimate_ngram(texts[:40], tmp_path / "estimated.arpa", order=4),
    ):
        fast, slow = Ngram(path), slow_ngram(path)
        for text in texts:
            assert score(fast, text, bos) == pytest.approx(slow.score(text.split(), bos), abs=1e-9)


def test_scores_equal_those_of_kenlm(arpa, texts):
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed")
    ours, theirs, bound = Ngram(arpa), kenlm.Model(str(arpa)), BinaryNgram(arpa)
    for text in texts:
        for bos in (True, False):
            expected = theirs.score(text, bos=bos)
            assert score(ours, text, bos) == pytest.approx(expected, abs=1e-5, rel=1e-6)
            assert score(bound, text, bos) == pytest.approx(expected, abs=1e-5, rel=1e-6)


def test_many_scores_are_those_of_one_by_one(texts, tmp_path):
    ngram = Ngram(estimate_ngram(texts[:40], tmp_path / "lm.arpa", order=3))
    words, rng = ngram.ids([*"ABCDZ", "</s>"]), np.random.default_rng(0)
    contexts = np.full(50, ngram.start)
    for _ in range(5):
        some = rng.choice(words, 50)
        log_probs, following = ngram.score(contexts, some)
        for i in range(50):
            one, context = ngram.score(contexts[i : i + 1], some[i : i + 1])
            assert (one[0], context[0]) == (log_probs[i], following[i])
        contexts = following


def test_a_gzipped_file_is_known_by_its_content(arpa, texts, tmp_path):
    zipped = tmp_path / "zipped.lm"
    zipped.write_bytes(gzip.compress(arpa.read_bytes()))
    plain, unzipped = Ngram(arpa), load_ngram(zipped)
    assert [score(plain, text) for text in texts] == [score(unzipped, text) for text in texts]


def test_words_are_split_as_kenlm_splits_them(tmp_path, slow_ngram):
    text = ["É Ü\u00a0X", "日本\u3000語 é", "X\x0bY  Z", "B\u2028A"]
    path = estimate_ngram(text, tmp_path / "lm.arpa", order=2)
    for line in text:
        words = [word for word in line.split(" ") if word]
        ngram, total = Ngram(path), 0.0
        context = np.array([ngram.start])
        for word in ngram.ids([*words, "</s>"]):
            log_prob, context = ngram.score(context, np.array([word]))
            total += log_prob[0]
        assert total / math.log(10) == pytest.approx(slow_ngram(path).score(words), abs=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("A B C", "A D C", "lm.arpa: A D C is there, but not A D"),
        ("A B C", "A B X", "lm.arpa: A B X has a word that is not among the unigrams"),
        ("-0.05", "minus", "lm.arpa cannot be read .*: line 28: 'minus' is not a number"),
        ("-0.35", "weight", "lm.arpa cannot be read .*: line 17: 'weight' is not a number"),
        ("\\end\\", "", "lm.arpa cannot be read .* cut short"),
    ],
)
def test_a_damaged_file_is_refused_by_line_or_words(old, new, said, tmp_path):
    with pytest.raises(UserError, match=said + r"[^\n]*$"):
        Ngram(written(HOLES.replace(old, new), tmp_path))


def test_a_binary_needs_kenlm(tmp_path, monkeypatch):
    path = tmp_path / "lm.bin"
    path.write_bytes(BINARY + b" format version 5\n\0<unk>\0")
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(UserError, match=r"lm.bin is a KenLM binary.* give the ARPA file$"):
        load_ngram(path)


def test_a_binary_that_kenlm_cannot_load_is_refused(tmp_path):
    pytest.importorskip("kenlm", reason="kenlm is not installed")
    path = tmp_path / "lm.bin"
    path.write_bytes(BINARY + b" format version 5\n\0<unk>\0")
    with pytest.raises(UserError, match=r"KenLM cannot load .*lm.bin: [^\n]*$"):
        load_ngram(path)


def test_a_file_of_a_grammar_loads(tmp_path, slow_ngram):
    path = estimate_ngram(sentences(300, seed=1), tmp_path / "lm.arpa", order=4)
    fast, slow = Ngram(path), slow_ngram(path)
    for text in [*sentences(320, seed=1)[280:], "ZZZ THE ZZZ"]:
        assert score(fast, text) == pytest.approx(slow.score(text.split()), abs=1e-9)
