"""Tokenizers: declared in YAML, made once from training transcripts, then loaded.

The pieces of a tokenizer are ``<blank>``, then ``<bos>`` and ``<eos>`` unless the model is CTC-only,
then ``<unk>``, then the pieces of text. A tokenizer is one JSON file.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.pieces import Pieces, marks
from speechbrain_recursive.data.subwords import SentencePieceTokenizer, SubwordPieces
from speechbrain_recursive.data.text import normal
from speechbrain_recursive.data.wordpiece import WordPieceTokenizer, all_upper
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text

FILE = "tokenizer.json"  # in results folders
DAMAGED = (KeyError, TypeError, ValueError, RuntimeError)  # what a damaged file makes readers raise


@dataclass(frozen=True)
class TokenizerSpec:
    """A tokenizer whose size is known before there is a corpus.

    Arguments
    ---------
    token_type : str
        ``"unigram"`` or ``"bpe"`` for subwords of SentencePiece; ``"char"`` for characters without word
        boundary, as for Chinese; ``"wordpiece"`` for subwords of a BERT.
    characters : str, optional
        An alphabet: the tokens are these characters, with ``|`` between words unless ``token_type`` is
        ``"char"``. By default tokens are made from the training transcripts.
    size : int, optional
        Number of tokens, marks included. Needed without ``characters``. If the transcripts have fewer
        characters, the rest is filled up, see :meth:`CharacterTokenizer.from_texts`.
    seq2seq : bool or int
        Whether there are ``<bos>`` and ``<eos>``; the number of decoder layers will do.
    coverage : float
        For subwords: the share of the characters of the transcripts that have tokens, 0.98 to 1. Rarer
        characters become ``<unk>``, such as those of foreign names.
    vocabulary : str or Path, optional
        For ``"wordpiece"``: the BERT whose pieces they are, as its name at Hugging Face, its folder or
        its ``vocab.txt``. By default they are made from the training transcripts.
    kept : str or Path, optional
        A results folder, whose tokens are taken; nothing is made then. The other arguments are those it
        was made with.

    Raises
    ------
    UserError
        If there is no such ``token_type``, ``size`` is missing, too small or not that of ``characters``,
        or ``coverage`` is out of range or, like ``vocabulary``, given for other tokens.

    Example
    -------
    >>> len(TokenizerSpec(characters="'ABCDEFGHIJKLMNOPQRSTUVWXYZ", seq2seq=False))
    30
    >>> len(TokenizerSpec("bpe", size=5000))
    5000
    >>> len(TokenizerSpec("wordpiece", size=29586, vocabulary="bert-base-uncased"))
    29586
    """

    token_type: str = "unigram"
    characters: str | None = None
    size: int | None = None
    seq2seq: bool | int = True
    coverage: float = 1.0
    vocabulary: str | Path | None = None
    kept: str | Path | None = None

    def __post_init__(self):
        object.__setattr__(self, "seq2seq", bool(self.seq2seq))
        characters, size, least = self.characters, self.size, len(marks(self.seq2seq)) + 1
        if self.token_type not in ("unigram", "bpe", "char", "wordpiece"):
            raise UserError(f"token_type is unigram, bpe, char or wordpiece, not {self.token_type!r}")
        if self.vocabulary is not None:
            object.__setattr__(self, "vocabulary", str(self.vocabulary))  # as the source has it
            if self.token_type != "wordpiece":
                raise UserError(f"tokenizer: vocabulary is for wordpiece, not for {self.token_type}")
        if self.token_type == "wordpiece" and characters is not None:
            raise UserError("tokenizer: wordpiece takes no alphabet; set characters to null")
        if characters is not None and not (isinstance(characters, str) and characters.strip()):
            advice = _override(characters="ABC")
            raise UserError(f"characters is an alphabet, such as {advice}, not {characters!r}")
        object.__setattr__(self, "characters", characters and normal(characters))
        if size is None and characters is None:
            raise UserError("tokenizer: give its size, or an alphabet as characters")
        if size is not None and (type(size) is not int or size < least):
            raise UserError(f"tokenizer: size is a number of at least {least} tokens, not {size!r}")
        if not (isinstance(self.coverage, int | float) and 0.98 <= self.coverage <= 1):
            raise UserError(f"tokenizer: coverage is from 0.98 to 1, not {self.coverage!r}")
        if self.coverage < 1 and (characters or self.token_type not in ("unigram", "bpe")):
            raise UserError(
                "tokenizer: coverage is for subwords of SentencePiece; set it to 1 for other tokens"
            )
        if None not in (size, characters) and size != len(self._of_characters()):
            raise UserError(
                f"tokenizer: size is {size}, but characters make {len(self._of_characters())} tokens: "
                f"set size to null, with {_override(size=None)}"
            )

    def __len__(self) -> int:
        return self.size if self.characters is None else len(self._of_characters())

    def build(self, path: str | Path, manifests: Sequence[str | Path]) -> Pieces:
        """Load the tokenizer at a path, or make it from training manifests.

        It is made again when an option or the text of the manifests has changed.

        Arguments
        ---------
        path : str or Path
            The tokenizer's JSON file.
        manifests : sequence of (str or Path)
            Training manifests, whose column wrd is used.

        Returns
        -------
        Pieces
            With as many pieces as the length of this object.

        Raises
        ------
        UserError
            If the alphabet or the vocabulary cannot spell the text, or the size does not fit.
        """
        rows = [
            (f"{manifest}, line {line}: {name}", row["wrd"])
            for manifest in manifests
            for line, (name, row) in enumerate(read_manifest(manifest).items(), start=2)
        ]
        if self.kept is not None:
            self.check(rows)
            self._kept.save(path)
            return self._kept
        texts = [text for _, text in rows]
        source = hashlib.md5(json.dumps([astuple(self)[:-1], texts]).encode()).hexdigest()
        with suppress(FileNotFoundError, *DAMAGED):
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["source"] == source:
                return from_content(content)
        if self.characters is not None:
            self.check(rows)
            made = self._of_characters()
        elif self.token_type == "char":
            made = CharacterTokenizer.from_texts(texts, self.seq2seq, boundary=False, size=self.size)
        elif self.vocabulary is not None:
            made = self._of_vocabulary(rows)
        elif self.token_type == "wordpiece":
            made = WordPieceTokenizer.from_texts(texts, self.size, self.seq2seq)
        else:
            options = self.seq2seq, self.token_type, self.coverage
            made = SentencePieceTokenizer.from_texts(texts, self.size, *options)
        made.save(path, source=source)
        return made

    def check(self, rows: Sequence[tuple[str, str]]) -> None:
        """Refuse transcripts with characters that will have no tokens.

        Arguments
        ---------
        rows : sequence of tuple
            Where a transcript stands, for messages, and its text.

        Raises
        ------
        UserError
            If there is such a character, or no tokenizer to keep, or it has another size.
        """
        for where, text in rows if self._alphabet else ():
            if foreign := sorted({*normal(text)} - {*self._alphabet, " "}):
                letters = {letter for _, text in rows for letter in normal(text)} | self._alphabet
                other = f"give all letters: {_override(characters=''.join(sorted(letters - {' '})))}"
                other = other if self.kept is None else "train heads for other tokens"
                whose = "the alphabet" if self.kept is None else f"the tokenizer of {self.kept}"
                raise UserError(
                    f"{where} has {' '.join(foreign)}, which {whose} does not contain; correct the "
                    f"transcript, or {other}"
                )

    @cached_property
    def _alphabet(self):
        if self.coverage < 1 or (self.kept is None and self.characters is None):
            return None
        return {*self.characters} if self.kept is None else self._kept.alphabet

    @cached_property
    def _kept(self):
        path = Path(self.kept)
        tokenizer = load_tokenizer(
            (path.parent if path.suffix in (".ckpt", ".safetensors") else path) / FILE
        )
        if len(tokenizer) != len(self):
            raise UserError(
                f"{self.kept} has {len(tokenizer)} tokens, and by its settings {len(self)}: put back "
                "the tokenizer that the model was trained with"
            )
        return tokenizer

    def _of_characters(self):
        return CharacterTokenizer(self.characters, self.seq2seq, boundary=self.token_type != "char")

    def _of_vocabulary(self, rows):
        from speechbrain_recursive.hub import read_vocabulary  # the Hub is not needed to read tokens

        pieces = read_vocabulary(self.vocabulary, "vocabulary")
        made = WordPieceTokenizer(pieces, self.seq2seq, upper=all_upper([text for _, text in rows]))
        if len(made) != self.size:
            raise UserError(
                f"tokenizer: size is {self.size}, but the vocabulary of {self.vocabulary} makes "
                f"{len(made)} tokens: set size to {len(made)}, with {_override(size=len(made))}"
            )
        spelled = set()
        for where, text in rows:
            for word in sorted({*normal(text).split()} - spelled):
                spelled.add(word)
                if made.decode(made.encode(word)) != word:
                    raise UserError(
                        f"{where} has {word}, which the vocabulary of {self.vocabulary} cannot spell; "
                        "correct the transcript, or choose another vocabulary"
                    )
        return made


def _override(**values):
    """What to write on a command line, in quotes that the shell takes off."""
    content = ", ".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()
    )
    return "--tokenizer '{" + content.replace("'", r"\u0027") + "}'"


def load_tokenizer(path: str | Path) -> Pieces:
    """Load a tokenizer that was saved.

    Arguments
    ---------
    path : str or Path
        A tokenizer's JSON file.

    Returns
    -------
    Pieces

    Raises
    ------
    UserError
        If there is no such file, or it is not a tokenizer.
    """
    text = read_text(path, f"no tokenizer at {path}")
    try:
        return from_content(json.loads(text))
    except DAMAGED:
        raise UserError(f"{path} is not a tokenizer of this package, or it is damaged") from None


def from_content(content: dict[str, Any]) -> Pieces:
    """The tokenizer that a parsed JSON file describes."""
    if content["kind"] == CharacterTokenizer.kind:
        boundary = content.get("boundary", True)
        return CharacterTokenizer(content["alphabet"], content["seq2seq"], boundary)
    if content["kind"] == SentencePieceTokenizer.kind:
        model = base64.b64decode(content["model"])
        if not model:  # which SentencePiece takes for a model without pieces
            raise ValueError("there is no model")
        try:
            return SentencePieceTokenizer(model, content["seq2seq"])
        except ImportError:  # where an exported model runs on little more than NumPy
            return SubwordPieces(content["pieces"][len(marks(content["seq2seq"])) :], content["seq2seq"])
    if content["kind"] == WordPieceTokenizer.kind:
        return WordPieceTokenizer(content["vocabulary"], content["seq2seq"], content["upper"])
    raise ValueError(content["kind"])
