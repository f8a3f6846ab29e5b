"""N-gram language models that score many words at once, over NumPy."""

import math
from array import array
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from speechbrain_recursive.decoding.arpa import BOS, UNK, is_binary, read_arpa
from speechbrain_recursive.errors import UserError

MISSING = -100.0  # KenLM's log10 probability of <unk> where a file has none


class Ngram:
    """The back-off n-gram of an ARPA file.

    Row 0 is the empty context, every other row a listed n-gram, and the context of a word is the row of
    its longest listed suffix. Rows stand in the order of their keys (row of all words but the last,
    then the last word), so that one binary search finds the n-grams of many words. A row takes 40 bytes.

    Arguments
    ---------
    path : str or Path
        The ARPA file, plain or gzipped, of order 2 or above.

    Attributes
    ----------
    start, empty : int
        The context at the start of a sentence, and that of no words.

    Raises
    ------
    UserError
        If the file cannot be read, or lacks the words or the context of an n-gram.

    Example
    -------
    >>> ngram = Ngram("lm.arpa")  # doctest: +SKIP
    >>> log_probs, contexts = ngram.score(np.array([ngram.start]), ngram.ids(["THE"]))  # doctest: +SKIP
    """

    empty = 0

    def __init__(self, path: str | Path):
        self._ids, orders = {}, []
        for order, log_prob, names, backoff in read_arpa(path):
            if order > len(orders):
                orders.append((array("q"), array("d"), array("d")))
            if order == 1:
                self._ids.setdefault(names[0], len(self._ids))
            words = [self._ids.get(name, -1) for name in names]
            if -1 in words:
                raise UserError(f"{path}: {_text(names)} has a word that is not among the unigrams")
            for values, new in zip(orders[-1], (words, (log_prob,), (backoff,)), strict=True):
                values.extend(new)
        unknown = self._ids.get(b"<UNK>", len(self._ids))
        if self._ids.setdefault(UNK.encode(), unknown) == len(orders[0][1]):
            for values, new in zip(orders[0], (unknown, MISSING, 0.0), strict=True):
                values.append(new)
        self._size = len(self._ids)
        self._keys = np.empty(0, dtype=np.int64)
        self._log_prob, self._backoff = np.zeros(1), np.zeros(1)
        self._suffix = np.zeros(1, dtype=np.int64)  # row without the first word
        for order, values in enumerate(orders, 1):
            self._append(path, order, *map(np.asarray, values))
        self._following = np.arange(len(self._suffix))  # the context after each row
        longest = len(self._suffix) - len(orders[-1][1])
        self._following[longest:] = self._suffix[longest:]
        self.start = int(self.score(np.zeros(1, dtype=np.int64), self.ids([BOS]))[1][0])

    def _append(self, path, order, words, log_prob, backoff):
        """Add the n-grams of one order, whose contexts and suffixes are there."""
        words = words.reshape(-1, order)
        prefix = np.zeros(len(words), dtype=np.int64)
        for column in words.T[:-1]:
            prefix, found = self._find(prefix, column)
            if not found.all():
                names = [list(self._ids)[word] for word in words[found.argmin()]]
                raise UserError(f"{path}: {_text(names)} is there, but not {_text(names[:-1])}")
        suffix = prefix if order == 1 else self._longest(self._suffix[prefix], words[:, -1])[0]
        keys = prefix * self._size + words[:, -1]
        rank = np.argsort(keys, kind="stable")
        self._keys = np.append(self._keys, keys[rank])
        self._log_prob = np.append(self._log_prob, math.log(10) * log_prob[rank])
        self._backoff = np.append(self._backoff, math.log(10) * backoff[rank])
        self._suffix = np.append(self._suffix, suffix[rank])

    def _find(self, contexts, words):
        """Rows of the n-grams of each context and word, and whether they are listed."""
        keys = contexts * self._size + words
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return at + 1, self._keys[at] == keys

    def _longest(self, contexts, words):
        """Rows of the longest listed n-grams, and the sums of the back-off weights on the way there."""
        backoff = np.zeros(len(words))
        while True:
            rows, found = self._find(contexts, words)
            if found.all():
                return rows, backoff
            backoff += np.where(found, 0.0, self._backoff[contexts])
            contexts = np.where(found, contexts, self._suffix[contexts])

    def ids(self, words: Iterable[str]) -> np.ndarray:
        """Ids [N] of words; a word that is not listed has the id of ``<unk>``."""
        unknown = self._ids[UNK.encode()]
        return np.array([self._ids.get(word.encode(), unknown) for word in words], dtype=np.int64)

    def score(self, contexts: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score one word after each context.

        Arguments
        ---------
        contexts : np.ndarray
            Contexts [N].
        words : np.ndarray
            Ids [N].

        Returns
        -------
        np.ndarray, np.ndarray
            Natural log-probabilities [N] of the words, and the contexts [N] after them.
        """
        rows, backoff = self._longest(contexts, words)
        return backoff + self._log_prob[rows], self._following[rows]


class BinaryNgram:
    """The n-gram of a KenLM binary, through the package ``kenlm``; see :class:`Ngram`.

    Arguments
    ---------
    path : str or Path
        A binary of KenLM's ``build_binary``.

    Raises
    ------
    UserError
        If ``kenlm`` is not installed or cannot load the file.
    """

    def __init__(self, path: str | Path):
        kenlm = import_kenlm(path)
        try:
            self._model = kenlm.Model(str(path))
        except OSError as error:  # the reason is the last line, after a source location
            raise UserError(f"KenLM cannot load {path}: {str(error).splitlines()[-1]}") from None
        self._words, self._state = [], kenlm.State
        self._states, self._contexts = [], {}  # of each context, and back
        begin, empty = kenlm.State(), kenlm.State()
        self._model.BeginSentenceWrite(begin)
        self._model.NullContextWrite(empty)
        self.start, self.empty = self._context(begin), self._context(empty)

    def _context(self, state):
        number = self._contexts.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def ids(self, words: Iterable[str]) -> np.ndarray:
        """Ids [N] of words, valid from now on."""
        first = len(self._words)
        self._words += words
        return np.arange(first, len(self._words))

    def score(self, contexts: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score one word after each context; see :meth:`Ngram.score`."""
        log_probs, following = np.empty(len(words)), np.empty(len(words), dtype=np.int64)
        for i, (context, word) in enumerate(zip(contexts.tolist(), words.tolist(), strict=True)):
            state = self._state()
            score = self._model.BaseScore(self._states[context], self._words[word], state)
            log_probs[i], following[i] = math.log(10) * score, self._context(state)
        return log_probs, following


def import_kenlm(path: str | Path) -> ModuleType:
    """Import the package that a KenLM binary needs.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        return import_module("kenlm")
    except ImportError:
        raise UserError(
            f"{path} is a KenLM binary, which only the package kenlm can read, and it is not installed: "
            "give the ARPA file"
        ) from None


def load_ngram(path: str | Path) -> Ngram | BinaryNgram:
    """Load an ARPA file or a KenLM binary.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    Ngram or BinaryNgram

    Raises
    ------
    UserError
        If it cannot be loaded.
    """
    return BinaryNgram(path) if is_binary(path) else Ngram(path)


def _text(names):
    return b" ".join(names).decode(errors="replace")
