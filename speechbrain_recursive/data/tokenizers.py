"""Text to token ids and back: characters or SentencePiece, with one layout.

The pieces are ``<blank>``, then ``<bos>`` and ``<eos>`` unless the model is CTC-only, then
``<unk>``, then the pieces of text. A tokenizer is one JSON file.
"""

import base64
import io
import json
from pathlib import Path

import sentencepiece

from speechbrain_recursive.data.pieces import Pieces, normal
from speechbrain_recursive.errors import UserError

WORD_BOUNDARY = "|"
UNKNOWN = "\u2047"  # what an unknown piece decodes to
PRIVATE = 0xF0000  # Unicode's private use area: its characters hold the places that no character takes


class CharacterTokenizer(Pieces):
    """Characters, with ``|`` between words.

    Arguments
    ---------
    alphabet : str or sequence of str
        The characters that may occur in a word, in any order.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.
    boundary : bool
        Whether there is ``|``. Without it, as for Chinese, spaces are passed over, and the units of a
        text are its characters.

    Attributes
    ----------
    pieces : list of str
        From id to piece; ``blank``, ``bos``, ``eos`` and ``unk`` are ids in it (``bos`` and
        ``eos`` are None for CTC alone).
    metric : str
        What the error rate of :meth:`units` is called: ``"wer"``, or ``"cer"`` without boundary.

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

    def __init__(self, alphabet, seq2seq=True, boundary=True):
        characters = sorted({*alphabet} - {WORD_BOUNDARY, " "})
        super().__init__([WORD_BOUNDARY] * boundary + characters, seq2seq)
        self.boundary = boundary
        self.metric = "wer" if boundary else "cer"
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}

    @classmethod
    def from_texts(cls, texts, seq2seq=True, boundary=True, size=None):
        """Take the alphabet from lines of text.

        Arguments
        ---------
        texts : iterable of str
            Transcripts.
        seq2seq, boundary : bool
            As for the class.
        size : int, optional
            Number of pieces, marks included. Places that no character of the text takes are held by
            characters of Unicode's private use area, so that one model's size serves several texts.

        Returns
        -------
        CharacterTokenizer

        Raises
        ------
        UserError
            If the text has more characters than ``size`` leaves room for: none becomes ``<unk>``.

        Example
        -------
        >>> tokenizer = CharacterTokenizer.from_texts(["\u5c71 \u6c34"], boundary=False, size=7)
        >>> tokenizer.pieces[4:], tokenizer.units("\u5c71 \u6c34")
        (['\u5c71', '\u6c34', '\U000f0000'], ['\u5c71', '\u6c34'])
        """
        made = cls({c for text in texts for c in normal(text)}, seq2seq, boundary)
        if size is None or size == len(made):
            return made
        if size < len(made):
            raise UserError(
                f"n_tokens {size}: the training text has more characters; with the marks it makes "
                f"{len(made)} tokens, so set --n_tokens {len(made)}"
            )
        spare = [chr(PRIVATE + i) for i in range(size - len(made))]
        return cls([*made.pieces[made.unk + 1 :], *spare], seq2seq, boundary)

    def units(self, text):
        """The words of a text, or its characters where tokens know no word boundary."""
        return super().units(text) if self.boundary else [*"".join(text.split())]

    def encode(self, text):
        """Ids of a text, without ``<bos>`` and ``<eos>``; unknown characters become ``<unk>``.

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

    def decode(self, ids):
        """The text of ids; blanks, ``<bos>`` and ``<eos>`` say nothing.

        Arguments
        ---------
        ids : sequence of int
            Without the repetitions of a CTC path.

        Returns
        -------
        str
        """
        said = [UNKNOWN if i == self.unk else self.pieces[i] for i in ids if i >= self.unk]
        return " ".join("".join(said).replace(WORD_BOUNDARY, " ").split())

    def _content(self):
        first = self.unk + 1 + self.boundary
        return {"alphabet": "".join(self.pieces[first:]), "boundary": self.boundary}


class SentencePieceTokenizer(Pieces):
    """Subwords of a SentencePiece model, moved behind our own marks.

    Arguments
    ---------
    model : bytes
        A serialized SentencePiece model whose piece 0 is ``<unk>`` and which has no other marks.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.

    Attributes
    ----------
    pieces : list of str
        As in :class:`CharacterTokenizer`; a word begins with U+2581.

    Example
    -------
    >>> tokenizer = SentencePieceTokenizer.from_texts(["THE CAT", "THE HAT"], vocab_size=11)
    >>> tokenizer.decode(tokenizer.encode("THE THAT"))
    'THE THAT'
    """

    kind = "sentencepiece"

    def __init__(self, model, seq2seq=True):
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        known = range(1, self._processor.get_piece_size())
        super().__init__([self._processor.id_to_piece(i) for i in known], seq2seq)

    @classmethod
    def from_texts(cls, texts, vocab_size, seq2seq=True, model_type="unigram"):
        """Train on lines of text.

        Arguments
        ---------
        texts : iterable of str
            Transcripts.
        vocab_size : int
            Number of pieces, marks included.
        seq2seq : bool
            Whether there are ``<bos>`` and ``<eos>``.
        model_type : str
            ``"unigram"`` or ``"bpe"``.

        Returns
        -------
        SentencePieceTokenizer

        Raises
        ------
        UserError
            If the text does not support so many pieces, or so few.
        """
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=map(normal, texts),
                model_writer=model,
                vocab_size=vocab_size - (3 if seq2seq else 1),
                model_type=model_type,
                character_coverage=1.0,
                normalization_rule_name="identity",
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"SentencePiece cannot make {vocab_size} pieces; of its own, which leave out "
                f"<blank>, <bos> and <eos>, it says: {reason}"
            ) from None
        return cls(model.getvalue(), seq2seq)

    def encode(self, text):
        """As :meth:`CharacterTokenizer.encode`."""
        return [i + self.unk for i in self._processor.encode(normal(text))]

    def decode(self, ids):
        """As :meth:`CharacterTokenizer.decode`."""
        known = [int(i) - self.unk for i in ids if i >= self.unk]
        return " ".join(self._processor.decode(known).split())

    def _content(self):
        return {"pieces": self.pieces, "model": base64.b64encode(self._model).decode()}


def load_tokenizer(path):
    """Read what ``save`` wrote.

    Arguments
    ---------
    path : str or Path
        A tokenizer's JSON file.

    Returns
    -------
    CharacterTokenizer or SentencePieceTokenizer

    Raises
    ------
    UserError
        If there is no such file, or it holds no tokenizer.
    """
    try:
        return from_content(json.loads(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"no tokenizer at {path}") from None
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is not a tokenizer of this package") from None


def from_content(content):
    """The tokenizer that a parsed JSON file describes."""
    if content["kind"] == CharacterTokenizer.kind:
        boundary = content.get("boundary", True)
        return CharacterTokenizer(content["alphabet"], content["seq2seq"], boundary)
    if content["kind"] == SentencePieceTokenizer.kind:
        return SentencePieceTokenizer(base64.b64decode(content["model"]), content["seq2seq"])
    raise ValueError(content["kind"])
