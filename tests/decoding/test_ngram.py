"""The n-gram estimator against lmplz and against its recorded output; probabilities that sum to one."""

import itertools
import random
import shutil
import subprocess

import numpy as np
import pytest

from speechbrain_recursive.data.grammar import sentences
from speechbrain_recursive.decoding import ngram
from speechbrain_recursive.decoding.arpa import read_unigrams
from speechbrain_recursive.decoding.lm import Ngram
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError

# printf 'A A A A A\nA A\nB A B A B A\n' | lmplz -o 3 --discount_fallback
REPEATS = ["A A A A A", "A A", "B A B A B A"]
REPEATS_BY_LMPLZ = {
    "<unk>": (-0.90309, 0),
    "<s>": (0, -0.30103),
    "</s>": (-0.6812412, 0),
    "A": (-0.42596874, -0.30103),
    "B": (-0.5351132, -0.30103),
    "A </s>": (-0.5168884, 0),
    "<s> A": (-0.2833012, -0.033858262),
    "A A": (-0.41172832, -0.0132282805),
    "B A": (-0.1627273, -0.1653674),
    "<s> B": (-0.50514996, -0.69897),
    "A B": (-0.6093592, -0.033858262),
    "A A </s>": (-0.48806098, 0),
    "B A </s>": (-0.32375106, 0),
    "<s> A A": (-0.36307353, 0),
    "A A A": (-0.4249566, 0),
    "<s> B A": (-0.028028725, 0),
    "A B A": (-0.14816858, 0),
    "B A B": (-0.6615712, 0),
}


def zipf(seed, words, count, longest):
    rng = random.Random(seed)
    names = [f"W{i}" for i in range(words)]
    weights = [1 / (i + 1) for i in range(words)]
    return [" ".join(rng.choices(names, weights, k=rng.randint(0, longest))) for _ in range(count)]


TEXTS = {
    "one word": ["A"],
    "repeats": REPEATS,
    "duplicates": ["THE CAT SAT"] * 7 + ["THE DOG"] * 2 + ["THE"],
    "empty lines": ["", "A B", "", "C"],
    "other spaces": ["É Ü\u00a0X", "\u65e5\u672c\u3000\u8a9e\té", "X\x0bY  Z"],
    "grammar": sentences(4000, seed=3),
    **{f"random {seed}": ["A", *zipf(seed, 1 + seed % 12, 5 * seed, 7)] for seed in range(12)},
}


def read(text):
    """Parse ARPA text into {n-gram: (log10 probability, log10 back-off)}."""
    rows = [line.split("\t") for line in text.split("\n") if "\t" in line]
    return {row[1]: (float(row[0]), float(row[2]) if len(row) > 2 else 0.0) for row in rows}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for words, (log_prob, backoff) in theirs.items():
        assert 10 ** ours[words][0] == pytest.approx(10**log_prob, abs=1e-5), words
        assert ours[words] == pytest.approx((log_prob, backoff), abs=1e-4), words


@pytest.fixture
def ours(monkeypatch, tmp_path):
    """Estimate with our own code, even if lmplz is on the PATH."""
    monkeypatch.setattr(ngram.shutil, "which", lambda name: None)
    return lambda text, order: estimate_ngram(text, tmp_path / f"ours{order}.arpa", order)


def test_equals_what_lmplz_printed(ours):
    assert_equal(read(ours(REPEATS, 3).read_text()), REPEATS_BY_LMPLZ)


@pytest.mark.skipif(
    not shutil.which("lmplz"), reason="lmplz is not on the PATH; build it from the kenlm sources"
)
@pytest.mark.parametrize("name", TEXTS)
def test_equals_lmplz(name, ours):
    text = "".join(line + "\n" for line in TEXTS[name]).encode()
    for order in range(1, 6):
        command = ["lmplz", "-o", str(order), "--discount_fallback", "-S", "200M"]
        done = subprocess.run(command, input=text, capture_output=True, check=True)
        assert_equal(
            read(ours(TEXTS[name], order).read_text(encoding="utf-8")), read(done.stdout.decode())
        )


@pytest.mark.skipif(
    not shutil.which("lmplz"), reason="lmplz is not on the PATH; build it from the kenlm sources"
)
def test_lmplz_is_used_where_it_is_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(ngram, "kneser_ney", None)
    assert_equal(read(estimate_ngram(REPEATS, tmp_path / "lm.arpa", 3).read_text()), REPEATS_BY_LMPLZ)


@pytest.mark.parametrize("name", ["repeats", "duplicates", "empty lines", "random 7"])
@pytest.mark.parametrize("order", [2, 4])
def test_every_context_sums_to_one(name, order, ours):
    path = ours(TEXTS[name], order)
    ngram = Ngram(path)
    words = ngram.ids([*read_unigrams(path), "</s>", "<unk>"])
    for context in itertools.product(words[:-2], repeat=order - 1):
        for start in (ngram.start, ngram.empty):
            state = np.array([start])
            for word in context[: 2 if len(words) > 6 else None]:
                _, state = ngram.score(state, np.array([word]))
            log_probs, _ = ngram.score(np.repeat(state, len(words)), words)
            assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-5)


def test_a_word_may_hold_a_line_separator(ours):
    assert "B\u2028A" in read(ours(["A B", "B\u2028A", "", "C"], 2).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "order", "message"),
    [
        (["A", "B <s> C"], 2, "line 2 of .*: <s>"),
        (["", " "], 2, "holds no words"),
        (["A"], 7, "order 7"),
    ],
)
def test_refusals(text, order, message, ours):
    with pytest.raises(UserError, match=message):
        ours(text, order)


def test_a_failure_leaves_no_arpa_behind(ours, tmp_path):
    with pytest.raises(UserError):
        ours(["A", "<unk>"], 2)
    assert not list(tmp_path.glob("*.arpa"))
