"""A tokenizer whose pieces are those of a BERT."""

import io
import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from speechbrain_recursive.data.characters import UNKNOWN, WORD_BOUNDARY
from speechbrain_recursive.data.pieces import Pieces, marks
from speechbrain_recursive.data.text import normal
from speechbrain_recursive.errors import UserError

WITHIN = "##"  # before a piece that goes on a word
JOINED = [c for c in string.punctuation if c not in WITHIN + WORD_BOUNDARY]


class WordPieceTokenizer(Pieces):
    """Subwords of a BERT: the longest piece that a word begins with, then the longest of the rest.

    As BERT does, it takes punctuation marks for words of their own. So that a text can be read back, a
    mark of ASCII has up to four pieces here, which are one piece of BERT's: as in ROCK 'N' ROLL,
    ``'##`` begins a word and ``##'`` ends it, ``##'##`` joins two as in DON'T, and ``'`` stands alone.
    A vocabulary without capital letters is used for text of either case.

    Arguments
    ---------
    vocabulary : sequence of str
        BERT's pieces; those in brackets, which are its marks, are left out, and so is ``|``.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.
    upper : bool
        Whether texts are read back in capital letters.

    Attributes
    ----------
    pieces : list of str
        From id to piece.
    words : list of (str or None)
        From id to BERT's piece; None for our own marks.

    Example
    -------
    >>> tokenizer = WordPieceTokenizer(["'", "don", "t", "do", "##t", "##s"], upper=True)
    >>> [tokenizer.pieces[i] for i in tokenizer.encode("DON'T DOTS")]
    ['don', "##'##", 't', 'do', '##t', '##s']
    >>> tokenizer.decode(tokenizer.encode("DON'T DOTS"))
    "DON'T DOTS"
    """

    kind = "wordpiece"

    def __init__(self, vocabulary: Sequence[str], seq2seq: bool = True, upper: bool = False):
        own = {*marks(seq2seq), WORD_BOUNDARY, ""}
        bracketed = re.compile(r"\[.+\]")
        self._vocabulary = [x for x in vocabulary if x not in own and not bracketed.fullmatch(x)]
        forms = {form: c for c in JOINED if c in vocabulary for form in joints(c)}
        super().__init__([*dict.fromkeys([*self._vocabulary, *forms])], seq2seq)
        self.upper = bool(upper)
        self.folds = not any(piece != piece.lower() for piece in self._vocabulary)
        self.words = [None] * (self.unk + 1) + [forms.get(x, x) for x in self.pieces[self.unk + 1 :]]
        self._ids = {piece: i for i, piece in enumerate(self.pieces) if i > self.unk}
        self._longest = max(map(len, self._ids), default=0)
        self._opens = {self._ids[form] for form in forms if form.endswith(WITHIN)}

    @property
    def alphabet(self) -> set[str]:
        """The characters that have pieces of their own, in either case if the vocabulary folds it."""
        letters = super().alphabet
        return letters | {letter.upper() for letter in letters} if self.folds else letters

    @classmethod
    def from_texts(cls, texts: Iterable[str], size: int, seq2seq: bool = True) -> "WordPieceTokenizer":
        """Make a vocabulary from lines of text: their characters, and what byte-pair encoding merges.

        Arguments
        ---------
        texts : iterable of str
            Transcripts. If all are in capital letters, the vocabulary is in small ones.
        size : int
            Number of pieces, marks included.
        seq2seq : bool
            Whether there are ``<bos>`` and ``<eos>``.

        Returns
        -------
        WordPieceTokenizer

        Raises
        ------
        UserError
            If the characters need more pieces, or there is too little text for so many.
        """
        texts = [normal(text) for text in texts]
        upper = all_upper(texts)
        parts = [[p for w in text.split() for p in split(w)] for text in _folded(texts, upper)]
        found = {part for line in parts for part in line}
        characters = sorted({c for part in found for c in part})
        alphabet = [c for c in characters if not punctuation(c)]
        letters = [*characters, *(WITHIN + c for c in alphabet)]
        least = len(cls(letters, seq2seq))
        if size < least:
            raise UserError(
                f"tokenizer: size is {size}, but the characters of the training text and the marks make "
                f"{least} pieces: set size to {least} or more"
            )
        lines = [" ".join(p for p in line if not punctuation(p)) for line in parts]
        merged = _merges(lines, size - least + 2 * len(alphabet) + 2) if size > least else []
        longer = [piece for piece in merged if piece not in letters][: size - least]
        if len(longer) < size - least:
            most = least + len(longer)
            raise UserError(
                f"tokenizer: size is {size}, but the training text has {most} pieces at most: set size "
                f"to {most} or less"
            )
        return cls([*letters, *longer], seq2seq, upper)

    def encode(self, text: str) -> list[int]:
        """Convert a text to ids, without ``<bos>`` and ``<eos>``.

        What the vocabulary cannot spell, between two spaces or punctuation marks, becomes one ``<unk>``.

        Arguments
        ---------
        text : str
            Words and spaces.

        Returns
        -------
        list of int
        """
        (text,) = _folded([normal(text)], self.folds)
        return [i for word in text.split() for i in self._of_word(split(word))]

    def decode(self, ids: Sequence[int]) -> str:
        """Convert ids to a text, as :meth:`CharacterTokenizer.decode` does."""
        text, joins = "", True
        for i in map(int, ids):
            if i < self.unk:
                continue
            goes_on = self.pieces[i].startswith(WITHIN) and len(self.pieces[i]) > len(WITHIN)
            word = UNKNOWN if i == self.unk else self.words[i]
            text += ("" if joins or goes_on else " ") + (word.removeprefix(WITHIN) or word)
            joins = i in self._opens
        return text.upper() if self.upper else text

    def _of_word(self, parts):
        """The ids of a word's parts."""
        for place, part in enumerate(parts):
            if punctuation(part):
                form = WITHIN * (place > 0) + part + WITHIN * (place < len(parts) - 1)
                yield self._ids.get(form, self._ids.get(part, self.unk))
            else:
                yield from self._longest_first(part)

    def _longest_first(self, word):
        ids, start = [], 0
        while start < len(word):
            before = WITHIN if start else ""
            ends = range(min(len(word), start + self._longest), start, -1)
            end = next((end for end in ends if before + word[start:end] in self._ids), None)
            if end is None:
                return [self.unk]
            ids.append(self._ids[before + word[start:end]])
            start = end
        return ids

    def _content(self) -> dict[str, Any]:
        return {"vocabulary": self._vocabulary, "upper": self.upper}


def joints(mark: str) -> list[str]:
    """The pieces of a punctuation mark that ends a word, begins one or joins two.

    Example
    -------
    >>> joints("-")
    ['##-', '-##', '##-##']
    """
    return [WITHIN + mark, mark + WITHIN, WITHIN + mark + WITHIN]


@cache
def punctuation(text: str) -> bool:
    """Whether a text is one character that BERT takes for punctuation.

    Example
    -------
    >>> [punctuation(text) for text in ("'", "$", "a", "''")]
    [True, True, False, False]
    """
    return text in [*string.punctuation] or (len(text) == 1 and unicodedata.category(text)[0] == "P")


def split(word: str) -> list[str]:
    """Split a word at its punctuation marks.

    Example
    -------
    >>> split("'don't'")
    ["'", 'don', "'", 't', "'"]
    """
    spaced = "".join(f" {c} " if punctuation(c) else c for c in word)
    return spaced.split()


def all_upper(texts: Sequence[str]) -> bool:
    """Whether texts have letters, all of them capital ones."""
    return all(text == text.upper() for text in texts) and any(text != text.lower() for text in texts)


def _folded(texts, fold):
    return [text.lower() for text in texts] if fold else texts


def _merges(lines, size):
    """Pieces of byte-pair encoding in the order of their merging, at most so many."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=size,
        model_type="bpe",
        character_coverage=1.0,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    made = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [made.id_to_piece(i) for i in range(1, made.get_piece_size())]
    begins = "\u2581"
    return [
        piece.removeprefix(begins) if piece.startswith(begins) else WITHIN + piece
        for piece in pieces
        if piece != begins
    ]
