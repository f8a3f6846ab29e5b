"""A tokenizer whose pieces are subwords of a SentencePiece model."""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

from speechbrain_recursive.data.characters import UNKNOWN
from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.data.text import normal
from speechbrain_recursive.errors import UserError


class SubwordPieces(Pieces):
    """The pieces of a SentencePiece model, without the model: they become text, and no text them.

    Arguments
    ---------
    pieces : list of str
        Pieces of text; a word begins with U+2581.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.

    Example
    -------
    >>> SubwordPieces(["\u2581THE", "\u2581T", "HAT"], seq2seq=False).decode([2, 3, 4])
    'THE THAT'
    """

    kind = "sentencepiece"

    def decode(self, ids: Sequence[int]) -> str:
        """Convert ids to a text, as :meth:`CharacterTokenizer.decode` does."""
        pieces = (f" {UNKNOWN} " if i == self.unk else self.pieces[i] for i in ids if i >= self.unk)
        return " ".join("".join(pieces).replace("\u2581", " ").split())


class SentencePieceTokenizer(SubwordPieces):
    """Subwords of a SentencePiece model, with ids that begin after our own marks.

    Arguments
    ---------
    model : bytes
        A serialized SentencePiece model whose piece 0 is ``<unk>`` and which has no other marks.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.

    Attributes
    ----------
    pieces : list of str
        From id to piece; a word begins with U+2581.

    Example
    -------
    >>> tokenizer = SentencePieceTokenizer.from_texts(["THE CAT", "THE HAT"], vocab_size=11)
    >>> tokenizer.decode(tokenizer.encode("THE THAT"))
    'THE THAT'
    """

    def __init__(self, model: bytes, seq2seq: bool = True):
        import sentencepiece

        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        known = range(1, self._processor.get_piece_size())
        super().__init__([self._processor.id_to_piece(i) for i in known], seq2seq)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        seq2seq: bool = True,
        model_type: str = "unigram",
        coverage: float = 1.0,
    ) -> "SentencePieceTokenizer":
        """Train a model on lines of text.

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
        coverage : float
            Share of the characters of the text to have pieces for, 0.98 to 1. The rarest others become
            ``<unk>``.

        Returns
        -------
        SentencePieceTokenizer

        Raises
        ------
        UserError
            If the text is too small for so many pieces, or has more characters than that.
        """
        import sentencepiece

        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=map(normal, texts),
                model_writer=model,
                vocab_size=vocab_size - (3 if seq2seq else 1),
                model_type=model_type,
                character_coverage=coverage,
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
                f"SentencePiece cannot make {vocab_size} pieces; not counting <blank>, <bos> and "
                f"<eos>, it reports: {reason}"
            ) from None
        return cls(model.getvalue(), seq2seq)

    def encode(self, text: str) -> list[int]:
        """Convert a text to ids, as :meth:`CharacterTokenizer.encode` does."""
        return [i + self.unk for i in self._processor.encode(normal(text))]

    def _content(self) -> dict[str, Any]:
        return {"pieces": self.pieces, "model": base64.b64encode(self._model).decode()}
