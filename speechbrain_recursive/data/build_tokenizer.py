"""A recipe's tokenizer: made once from training transcripts, then loaded."""

import hashlib
import json
from pathlib import Path

from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.tokenizers import (
    CharacterTokenizer,
    SentencePieceTokenizer,
    from_content,
)
from speechbrain_recursive.errors import UserError


def build_tokenizer(
    path,
    manifests,
    kind="characters",
    seq2seq=True,
    alphabet=None,
    vocab_size=None,
    model_type="unigram",
    boundary=True,
):
    """Load the tokenizer at ``path``, or make it from training manifests.

    It is made anew when an option or the text of the manifests changes.

    Arguments
    ---------
    path : str or Path
        The tokenizer's JSON file.
    manifests : sequence of Path
        Training manifests, whose column wrd is used.
    kind : str
        ``"characters"`` or ``"sentencepiece"``.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.
    alphabet : str or None
        For characters: use these, not those of the text.
    vocab_size : int or None
        Number of pieces, marks included. For the characters of the text it is room for so many, see
        :meth:`CharacterTokenizer.from_texts`.
    model_type : str
        For SentencePiece: ``"unigram"`` or ``"bpe"``.
    boundary : bool
        For characters: whether there is ``|`` between words.

    Returns
    -------
    CharacterTokenizer or SentencePieceTokenizer

    Raises
    ------
    UserError
        If ``kind`` is neither, SentencePiece has no usable ``vocab_size``, or the text has more
        characters than that, or any that a given alphabet lacks.
    """
    if kind not in (CharacterTokenizer.kind, SentencePieceTokenizer.kind):
        raise UserError(f"a tokenizer is 'characters' or 'sentencepiece', not {kind!r}")
    if kind == SentencePieceTokenizer.kind and not vocab_size:
        raise UserError("a SentencePiece tokenizer needs vocab_size")
    texts = [row["wrd"] for manifest in manifests for row in read_manifest(manifest).values()]
    options = [kind, seq2seq, alphabet, vocab_size, model_type, boundary]
    source = hashlib.md5(json.dumps([options, texts]).encode()).hexdigest()
    path = Path(path)
    if path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["source"] == source:
                return from_content(content)
        except (KeyError, TypeError, ValueError):
            pass  # written by something else, or damaged: made anew
    if kind == SentencePieceTokenizer.kind:
        made = SentencePieceTokenizer.from_texts(texts, vocab_size, seq2seq, model_type)
    elif alphabet is not None:
        made = CharacterTokenizer(alphabet, seq2seq, boundary)
        _check_alphabet(alphabet, manifests)
    else:
        made = CharacterTokenizer.from_texts(texts, seq2seq, boundary, vocab_size)
    made.save(path, source=source)
    return made


def _check_alphabet(alphabet, manifests):
    """Refuse training text that an alphabet cannot spell, such as text of another case."""
    for manifest in manifests:
        for name, row in read_manifest(manifest).items():
            foreign = sorted({*row["wrd"]} - {*alphabet, " "})
            if foreign:
                raise UserError(
                    f"{manifest}: {name} has {' '.join(foreign)}, which the alphabet lacks; mend the "
                    "transcript or give --characters all letters"
                )
