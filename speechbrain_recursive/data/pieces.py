"""The base class of tokenizers: the layout of their pieces, and their file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechbrain_recursive.files import write_whole


def marks(seq2seq: bool) -> list[str]:
    """The pieces that come before those of text."""
    return ["<blank>", "<bos>", "<eos>", "<unk>"] if seq2seq else ["<blank>", "<unk>"]


class Pieces:
    """The pieces of a tokenizer: ``<blank>``, ``<bos>`` and ``<eos>`` if needed, ``<unk>``, then text.

    A subclass defines ``kind``, ``encode``, ``decode`` and ``_content``, the rest of its file.

    Arguments
    ---------
    pieces : list of str
        Pieces of text, each once.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``; other values count as their truth value.

    Attributes
    ----------
    pieces : list of str
        From id to piece, the marks included.
    blank, bos, eos, unk : int or None
        Ids of the marks.
    words : list of (str or None) or None
        From id to the piece of a BERT's vocabulary that it stands for, None for marks; None if pieces
        are not of this kind.
    """

    kind: str
    blank = 0
    words: list[str | None] | None = None

    def __init__(self, pieces: Sequence[str], seq2seq: bool):
        self.seq2seq = bool(seq2seq)
        first = marks(self.seq2seq)
        self.pieces = [*first, *pieces]
        self.bos, self.eos = (1, 2) if self.seq2seq else (None, None)
        self.unk = len(first) - 1

    def __len__(self) -> int:
        return len(self.pieces)

    def save(self, path: str | Path, **extra: Any) -> None:
        """Write the JSON file that ``load_tokenizer`` reads, whole or not at all.

        Arguments
        ---------
        path : str or Path
            The file.
        **extra
            More values to keep in it.
        """
        content = {"kind": self.kind, "seq2seq": self.seq2seq, **self._content(), **extra}
        write_whole(path, json.dumps(content, ensure_ascii=False, indent=1))
