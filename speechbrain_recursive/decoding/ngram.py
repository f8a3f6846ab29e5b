"""Word and token n-grams: interpolated modified Kneser-Ney, written as an ARPA file.

PyPI holds no tool that estimates what KenLM's ``lmplz`` estimates: ``kenlm`` and ``pypi-kenlm`` only
query, ``nltk`` writes no ARPA, and ``varikn`` fits its discounts to held-out text. Hence the few lines
here, which give the probabilities of ``lmplz --discount_fallback``. They keep every position of the text
in memory (about 300 bytes for each word at order 4), so a corpus as large as LibriSpeech's language
model text wants ``lmplz`` itself, which is used wherever it is on the PATH.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_recursive.decoding.arpa import BOS, EOS, UNK, write_arpa
from speechbrain_recursive.errors import UserError

MAX_ORDER = 6  # of KenLM as it is built for PyPI and by default


def estimate_ngram(text, arpa, order=4):
    """Estimates an n-gram with interpolated modified Kneser-Ney smoothing.

    Runs ``lmplz --discount_fallback`` where it is on the PATH, and the same estimate in NumPy elsewhere.

    Arguments
    ---------
    text : str, Path or iterable of str
        A text file, one sentence per line, or the sentences. Words are what stands between spaces.
    arpa : str or Path
        The ARPA file to write. Its folder is made where it is missing.
    order : int
        Length of the longest n-gram in words, 1 to 6. KenLM loads 2 and above.

    Returns
    -------
    Path
        ``arpa``.

    Raises
    ------
    UserError
        If the text is missing, empty, or holds one of the words that mark sentences, or the order is out
        of range.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = estimate_ngram(["ONE TWO", "ONE ONE TWO"], folder + "/lm.arpa", order=2)
    ...     print(path.read_text().splitlines()[1])
    ngram 1=5
    """
    if not 1 <= order <= MAX_ORDER:
        raise UserError(f"n-gram order {order}: must be 1 to {MAX_ORDER}")
    if isinstance(text, (str, Path)) and not Path(text).is_file():
        raise UserError(f"no text to estimate an n-gram from at {text}")
    arpa = Path(arpa)
    arpa.parent.mkdir(parents=True, exist_ok=True)
    part = arpa.with_name(arpa.name + ".part")
    lmplz = shutil.which("lmplz")
    if lmplz:
        _run_lmplz(lmplz, _sentences(text), part, order)
    else:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            write_arpa(file, *kneser_ney(_sentences(text), order))
    os.replace(part, arpa)
    return arpa


def _sentences(text):
    """The words of each line of a file, or of each string, divided as lmplz divides them."""
    if not isinstance(text, (str, Path)):
        yield from _words(text, "the text")
        return
    with open(text, encoding="utf-8", newline="\n") as lines:
        try:
            yield from _words(lines, text)
        except UnicodeDecodeError as error:
            raise UserError(f"{text} is not UTF-8 text ({error.reason})") from None


def _words(lines, name):
    empty = True
    for number, line in enumerate(lines, 1):
        words = [word for word in re.split("[\0\t\r\n ]", line) if word]
        for special in (UNK, BOS, EOS):
            if special in words:
                raise UserError(
                    f"{name}, line {number}: {special} marks sentences in an n-gram; remove it"
                )
        empty = empty and not words
        yield words
    if empty:
        raise UserError(f"{name} holds no words to estimate an n-gram from")


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
    """All n-grams of one order, as columns; ``prefix`` and ``suffix`` are rows of the order below."""

    prefix: np.ndarray  # without the last word
    suffix: np.ndarray  # without the first word
    word: np.ndarray  # the last word
    count: np.ndarray  # occurrences
    starts: np.ndarray  # whether the first word is <s>
    last: int  # row of the last n-gram in lmplz's order, from the last word back; -1 if too short
    log_prob: np.ndarray = None  # log10
    backoff: np.ndarray = None  # log10; 0 where nothing follows


def kneser_ney(sentences, order):
    """Interpolated modified Kneser-Ney (Chen and Goodman, 1998), with KenLM's treatment of the ends.

    The counts of the highest order, and of n-grams that begin with ``<s>``, are occurrences; all others
    are the number of different words seen before. Where an order gives no usable discounts they are
    0.5, 1 and 1.5.

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
        discount = _discounts(_as_lmplz_sees(adjusted, grams, n + 1 < order))[np.minimum(adjusted, 3)]
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


def _as_lmplz_sees(adjusted, grams, lower):
    """Counts for the discounts: below the highest order, lmplz takes its last n-gram by occurrences."""
    if not lower or grams.last < 0:
        return adjusted
    return np.where(np.arange(len(adjusted)) == grams.last, grams.count, adjusted)


def _log10(value):
    return np.log10(np.maximum(value, 1e-99))  # -99 is the usual zero of an ARPA file


def _count(text, n_words, order):
    """Counts all n-grams; ``text`` [positions] holds the sentences' words, each from <s> to </s>."""
    start = np.maximum.accumulate(np.where(text == 1, np.arange(len(text)), 0))
    last = max(
        np.flatnonzero(text == n_words - 1),
        key=lambda p: [text[max(p - k, start[p])] for k in range(order)],
    )
    nothing = np.zeros(n_words, dtype=np.int64)
    here = text  # row of the n-gram that ends at each position
    words = np.arange(n_words)
    orders = [
        Grams(nothing, nothing, words, np.bincount(text, minlength=n_words), words == 1, n_words - 1)
    ]
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
    """Chen and Goodman's equation 26: what to take off counts of 0, 1, 2, and 3 or more -> [4]."""
    n1, n2, n3, n4 = (int((adjusted == k).sum()) for k in (1, 2, 3, 4))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (found >= 0).all():
            return found
    return np.array([0, 0.5, 1, 1.5])
