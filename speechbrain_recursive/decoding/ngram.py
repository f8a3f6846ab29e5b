"""Estimates word and token n-grams with interpolated modified Kneser-Ney smoothing, as ARPA files.

No package on PyPI estimates what KenLM's ``lmplz`` does: ``kenlm`` and ``pypi-kenlm`` only query,
``nltk`` writes no ARPA files, and ``varikn`` fits its discounts to held-out text. This module gives the
probabilities of ``lmplz --discount_fallback``. It keeps every position of the text in memory (about 300
bytes per word at order 4). For a corpus as large as LibriSpeech's language model text, install
``lmplz``, which is used if it is on the PATH.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_recursive.decoding.arpa import BOS, EOS, UNK, write_arpa
from speechbrain_recursive.errors import UserError

MAX_ORDER = 6  # the highest order of KenLM's default build


def check_order(order: int, least: int = 1) -> None:
    """Check the order of an n-gram that is to be estimated.

    Arguments
    ---------
    order : int
        Length of the longest n-gram in words.
    least : int
        The lowest order allowed. KenLM loads 2 and above.

    Raises
    ------
    UserError
        If the order is out of range.
    """
    if not least <= order <= MAX_ORDER:
        raise UserError(f"n-gram order {order}: must be {least} to {MAX_ORDER}")


def estimate_ngram(text: Iterable[str], arpa: str | Path, order: int = 4) -> Path:
    """Estimate an n-gram with interpolated modified Kneser-Ney smoothing.

    Runs ``lmplz --discount_fallback`` if it is on the PATH, otherwise the same estimate in NumPy.

    Arguments
    ---------
    text : iterable of str
        The sentences. Words are separated by spaces.
    arpa : str or Path
        The ARPA file to write. Its folder is created if it is missing.
    order : int
        Length of the longest n-gram in words, 1 to 6. KenLM loads 2 and above.

    Returns
    -------
    Path
        ``arpa``.

    Raises
    ------
    UserError
        If the text is empty or contains one of the words that mark sentences, or if the order is out of
        range.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = estimate_ngram(["ONE TWO", "ONE ONE TWO"], folder + "/lm.arpa", order=2)
    ...     print(path.read_text().splitlines()[1])
    ngram 1=5
    """
    check_order(order)
    arpa = Path(arpa)
    arpa.parent.mkdir(parents=True, exist_ok=True)
    part = arpa.with_name(f"{arpa.name}.{os.getpid()}.part")  # processes may estimate at once
    if lmplz := shutil.which("lmplz"):
        _run_lmplz(lmplz, _words(text), part, order)
    else:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            write_arpa(file, *kneser_ney(_words(text), order))
    os.replace(part, arpa)
    return arpa


def _words(text):
    """The words of each sentence, split as lmplz splits them."""
    empty = True
    for number, line in enumerate(text, 1):
        words = [word for word in re.split("[\0\t\r\n ]", line) if word]
        for special in (UNK, BOS, EOS):
            if special in words:
                raise UserError(
                    f"line {number} of the n-gram's text: {special} marks sentences; remove it"
                )
        empty = empty and not words
        yield words
    if empty:
        raise UserError("the text holds no words to estimate an n-gram from")


def _run_lmplz(lmplz, sentences, arpa, order):
    command = [lmplz, "-o", str(order), "--discount_fallback", "-S", "1G"]
    with tempfile.TemporaryFile() as text, open(arpa, "wb") as out:
        text.writelines((" ".join(words) + "\n").encode() for words in sentences)
        text.seek(0)
        done = subprocess.run(command, stdin=text, stdout=out, stderr=subprocess.PIPE)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"{lmplz} failed: {reason[-1] if reason else done.returncode}")


@dataclass
class Grams:
    """All n-grams of one order, as arrays; ``prefix`` and ``suffix`` index the order below."""

    prefix: np.ndarray  # without the last word
    suffix: np.ndarray  # without the first word
    word: np.ndarray  # the last word
    count: np.ndarray  # occurrences
    starts: np.ndarray  # whether the first word is <s>
    last: int  # index of the last n-gram in lmplz's order, which sorts from the last word back; else -1
    log_prob: np.ndarray = None  # log10
    backoff: np.ndarray = None  # log10; 0 for a context that nothing follows


def kneser_ney(sentences: Iterable[Sequence[str]], order: int) -> tuple[list[str], list[Grams]]:
    """Interpolated modified Kneser-Ney (Chen and Goodman, 1998), with sentence ends treated as in KenLM.

    N-grams of the highest order and n-grams that begin with ``<s>`` count their occurrences; all others
    count the different words seen before them. If the counts of an order give no usable discounts, the
    discounts are 0.5, 1 and 1.5.

    Arguments
    ---------
    sentences : iterable of list of str
        The words of each sentence.
    order : int
        Length of the longest n-gram in words.

    Returns
    -------
    vocabulary : list of str
        ``<unk>``, ``<s>``, ``</s>`` and the words.
    orders : list of Grams
        The n-grams with their log10 probabilities and back-off weights, order 1 first.
    """
    vocabulary = {UNK: 0, BOS: 1, EOS: 2}
    text = [
        vocabulary.setdefault(word, len(vocabulary))
        for words in sentences
        for word in (BOS, *words, EOS)
    ]
    orders = _count(np.array(text), len(vocabulary), order)
    lower = np.array([1 / (len(vocabulary) - 1)])  # <s> is never predicted
    for n, grams in enumerate(orders):
        adjusted = grams.count
        if n + 1 < order:
            before = np.bincount(orders[n + 1].suffix, minlength=len(adjusted))
            adjusted = np.where(grams.starts, adjusted, before)
        if n == 0:
            adjusted = np.where(grams.starts, 0, adjusted)
        seen = adjusted.copy()
        if n + 1 < order and grams.last >= 0:  # lmplz counts the last of them by its occurrences
            seen[grams.last] = grams.count[grams.last]
        discount = _discounts(seen)[np.minimum(adjusted, 3)]
        total = np.bincount(grams.prefix, adjusted, len(lower)) + 1e-300  # contexts that nothing follows
        mass = np.bincount(grams.prefix, discount, len(lower)) / total
        prob = (adjusted - discount) / total[grams.prefix] + mass[grams.prefix] * lower[grams.suffix]
        if n == 0:
            prob[vocabulary[BOS]] = 1.0
        else:
            followed = np.bincount(grams.prefix, minlength=len(lower)) > 0
            orders[n - 1].backoff = _log10(np.where(followed, mass, 1.0))
        grams.log_prob, lower = np.minimum(_log10(prob), 0.0), prob
    return list(vocabulary), orders


def _log10(value):
    return np.log10(np.maximum(value, 1e-99))  # -99 is the usual zero of an ARPA file


def _count(text, n_words, order):
    """Count all n-grams of ``text`` [positions], the word ids of sentences with <s> and </s>."""
    start = np.maximum.accumulate(np.where(text == 1, np.arange(len(text)), 0))
    last = max(
        np.flatnonzero(text == n_words - 1),
        key=lambda p: [text[max(p - k, start[p])] for k in range(order)],
    )
    nothing = np.zeros(n_words, dtype=np.int64)
    here = text  # index of the n-gram that ends at each position
    words, counts = np.arange(n_words), np.bincount(text, minlength=n_words)
    orders = [Grams(nothing, nothing, words, counts, words == 1, n_words - 1)]
    for n in range(2, order + 1):
        ends = np.flatnonzero(np.arange(len(text)) - start >= n - 1)
        keys = here[ends - 1] * n_words + text[ends]
        keys, first, row, count = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        prefix = keys // n_words
        suffix, starts = here[ends[first]], orders[-1].starts[prefix]
        here = np.full(len(text), -1)
        here[ends] = row
        orders.append(Grams(prefix, suffix, keys % n_words, count, starts, here[last]))
    return orders


def _discounts(adjusted):
    """Discounts [4] of counts 0, 1, 2, and 3 or more (Chen and Goodman, equation 26)."""
    n1, n2, n3, n4 = (int((adjusted == k).sum()) for k in (1, 2, 3, 4))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (found >= 0).all():
            return found
    return np.array([0, 0.5, 1, 1.5])
