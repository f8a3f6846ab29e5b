"""A tokenizer whose pieces are characters."""

from collections.abc import Iterable, Sequence
from typing import Any

from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.data.text import normal
from speechbrain_recursive.errors import UserError

WORD_BOUNDARY = "|"
UNKNOWN = "\u2047"  # the text of an unknown piece
PRIVATE = 0xF0000  # Unicode's private use area: its characters fill up an alphabet to a given size


class CharacterTokenizer(Pieces):
    """Characters, with ``|`` between words.

    Arguments
    ---------
    alphabet : str or sequence of str
        The characters that may occur in a word, in any order.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.
    boundary : bool
        Whether there is ``|``. Without it, as for Chinese, spaces are ignored, and the units of a
        text are its characters.

    Attributes
    ----------
    pieces : list of str
        From id to piece; ``blank``, ``bos``, ``eos`` and ``unk`` are ids in it (``bos`` and
        ``eos`` are None for CTC alone).

    Example
    -------
    >>> tokenizer = CharacterTokenizer("ABCDEFGHIJKLMNOPQRSTUVWXYZ'", seq2seq=False)
    >>> len(tokenizer), tokenizer.pieces[:5]
    (30, ['<blank>', '<unk>', '|', "'", 'A'])
    >>> tokenizer.encode("A CAB")
    [4, 2, 6, 4, 5]
    >>> tokenizer.decode([4, 2, 6, 4, 5])
    'A CAB'
    """

    kind = "characters"

    def __init__(self, alphabet: Iterable[str], seq2seq: bool = True, boundary: bool = True):
        characters = sorted({*alphabet} - {WORD_BOUNDARY, " "})
        super().__init__([WORD_BOUNDARY] * boundary + characters, seq2seq)
        self.boundary = boundary
        if not boundary:
            self.words = [None] * (self.unk + 1) + characters
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], seq2seq: bool = True, boundary: bool = True, size: int | None = None
    ) -> "CharacterTokenizer":
        """Take the alphabet from lines of text.

        Arguments
        ---------
        texts : iterable of str
            Transcripts.
        seq2seq, boundary : bool
            As for the class.
        size : int, optional
            Number of pieces, marks included. Characters of Unicode's private use area fill up what the
            text leaves, so that models of one size can be trained on several texts.

        Returns
        -------
        CharacterTokenizer

        Raises
        ------
        UserError
            If the text has more characters than ``size`` leaves room for.

        Example
        -------
        >>> tokenizer = CharacterTokenizer.from_texts(["\u5c71 \u6c34"], boundary=False, size=7)
        >>> tokenizer.pieces[4:]
        ['\u5c71', '\u6c34', '\U000f0000']
        """
        made = cls({c for text in texts for c in normal(text)}, seq2seq, boundary)
        if size is None or size == len(made):
            return made
        if size < len(made):
            raise UserError(
                f"tokenizer: size is {size}, but the characters of the training text and the marks make "
                f"{len(made)} tokens: set size to {len(made)}, with --tokenizer '{{size: {len(made)}}}'"
            )
        spare = [chr(PRIVATE + i) for i in range(size - len(made))]
        return cls([*made.pieces[made.unk + 1 :], *spare], seq2seq, boundary)

    def encode(self, text: str) -> list[int]:
        """Convert a text to ids, without ``<bos>`` and ``<eos>``; unknown characters become ``<unk>``.

        Arguments
        ---------
        text : str
            Words and spaces.

        Returns
        -------
        list of int
        """
        between = self._ids.get(WORD_BOUNDARY)
        return [
            between if c == " " else self.unk if c == WORD_BOUNDARY else self._ids.get(c, self.unk)
            for c in normal(text)
            if c != " " or self.boundary
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Convert ids to a text; blanks, ``<bos>`` and ``<eos>`` are skipped.

        Arguments
        ---------
        ids : sequence of int
            Of a CTC path, without its repetitions.

        Returns
        -------
        str
        """
        pieces = [UNKNOWN if i == self.unk else self.pieces[i] for i in ids if i >= self.unk]
        return " ".join("".join(pieces).replace(WORD_BOUNDARY, " ").split())

    def _content(self) -> dict[str, Any]:
        first = self.unk + 1 + self.boundary
        return {"alphabet": "".join(self.pieces[first:]), "boundary": self.boundary}
