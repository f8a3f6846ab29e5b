"""The words that a search may find, as paths of tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechbrain_recursive.decoding.arpa import read_unigrams
from speechbrain_recursive.errors import UserError

NEVER = -1e4  # a log-probability low enough to rule a path out


class Lexicon:
    """The words of an n-gram in the spelling of a tokenizer.

    Arguments
    ---------
    tokenizer : object
        With ``pieces``, ``encode``, ``blank`` and ``unk``.
    ngram : str or Path
        An ARPA file or KenLM binary.

    Attributes
    ----------
    words : list of str
        The words.
    spellings : list of list of int
        Tokens of each word, followed by the boundary if there is one.
    boundary : list of int
        The piece ``|`` between words, or nothing.
    blank, size : int
        Token of the blank, and the number of tokens.

    Raises
    ------
    UserError
        As :func:`read_lexicon` does.
    """

    def __init__(self, tokenizer: Any, ngram: str | Path):
        self.words = read_lexicon(tokenizer, ngram)
        self.blank, self.size = tokenizer.blank, len(tokenizer.pieces)
        self.boundary = [index for index, piece in enumerate(tokenizer.pieces) if piece == "|"]
        self.spellings = [[*tokenizer.encode(word), *self.boundary] for word in self.words]

    def frames(self, log_probs: np.ndarray) -> np.ndarray:
        """What a search reads of log-posteriors [T, V]: without infinities [T, V].

        If there is a boundary, a frame of it alone is appended [T + 1, V], since all spellings end so.
        """
        log_probs = np.maximum(log_probs, NEVER, dtype=np.float32)
        if not self.boundary:
            return log_probs
        last = np.full((1, self.size), NEVER, dtype=np.float32)
        last[:, self.boundary] = 0.0
        return np.concatenate([log_probs, last])

    def tokens(self, words: Sequence[int]) -> list[int]:
        """Tokens of a sequence of words, which are given by index, without a boundary at the end."""
        tokens = [token for word in words for token in self.spellings[word]]
        return tokens[: len(tokens) - len(self.boundary)]


def read_lexicon(tokenizer: Any, ngram: str | Path) -> list[str]:
    """The words of an n-gram, after checking that the tokenizer can spell them.

    This does not load the n-gram, which takes minutes for a large file, so that a run can check it
    before training.

    Arguments
    ---------
    tokenizer : object
        With ``pieces``, and with ``unk``, the last id before the pieces of text.
    ngram : str or Path
        An ARPA file, plain or gzipped, or a KenLM binary.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If there is no such n-gram, it could not be loaded, or its words contain letters that the
        tokenizer lacks.
    """
    words = read_unigrams(ngram)
    letters = {*"".join(tokenizer.pieces[tokenizer.unk + 1 :])}
    foreign = sorted({letter for word in words for letter in word} - (letters - {"|", "\u2581"}))
    if foreign:
        raise UserError(
            f"{ngram} has letters that the tokenizer lacks: {' '.join(foreign[:20])}; "
            f"the tokenizer's are: {' '.join(sorted(letters)[:60])}. Use an n-gram of the same letters"
        )
    return words
