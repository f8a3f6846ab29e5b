"""Writes n-grams as ARPA files and reads the vocabulary of ARPA files and KenLM binaries."""

import gzip
import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
BINARY = b"mmap lm http://kheafield.com/code"
GZIP = b"\x1f\x8b"


def write_arpa(file: TextIO, vocabulary: Sequence[str], orders: Sequence[Any]) -> None:
    """Write what :func:`speechbrain_recursive.decoding.ngram.kneser_ney` returns as an ARPA file.

    Arguments
    ---------
    file : text file
        Open for writing.
    vocabulary : list of str
        The words.
    orders : list of Grams
        The n-grams, order 1 first.
    """
    file.write("\\data\\\n" + "".join(f"ngram {n}={len(g.word)}\n" for n, g in enumerate(orders, 1)))
    names = [""]
    for n, grams in enumerate(orders, 1):
        file.write(f"\n\\{n}-grams:\n")
        names = [
            f"{names[p]} {vocabulary[w]}".lstrip(" ")
            for p, w in zip(grams.prefix, grams.word, strict=True)
        ]
        ends = [f"\t{weight:.7g}" for weight in grams.backoff] if n < len(orders) else [""] * len(names)
        for name, log_prob, end in zip(names, grams.log_prob, ends, strict=True):
            file.write(f"{log_prob:.7g}\t{name}{end}\n")
    file.write("\n\\end\\\n")


def read_unigrams(path: str | Path) -> list[str]:
    """The words of an n-gram.

    Reads the unigrams alone and, of a plain ARPA file, the end. This finds most of the faults that KenLM
    would find after minutes of loading a large file.

    Arguments
    ---------
    path : str or Path
        An ARPA file, plain or gzipped, or a binary of KenLM's ``build_binary``.

    Returns
    -------
    list of str
        The words without ``<unk>``, ``<s>`` and ``</s>``.

    Raises
    ------
    UserError
        If there is no such file, it is neither of these, it is cut short, or it contains only unigrams.
    """
    check_file(path, f"no n-gram at {path}")
    with open(path, "rb") as file:
        start = file.read(len(BINARY))
        try:
            if start == BINARY:
                words = _binary_words(file)
            elif start.startswith(GZIP):
                with gzip.open(path) as unzipped:
                    words = _arpa_words(unzipped)
            else:
                file.seek(0)
                words = _arpa_words(file)
                file.seek(max(0, Path(path).stat().st_size - 1000))
                if b"\\end\\" not in file.read():
                    raise ValueError("it is cut short: there is no \\end\\")
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path} cannot be read as an n-gram: {error}") from None
    return [word for word in words if word.lower() not in (UNK, BOS, EOS)]


def _binary_words(file):
    """The words at the end of a binary, each followed by a zero byte."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.rfind(b"<unk>\0")
        if at < 0:
            raise ValueError("it is a binary without its words")
        return data[at:].decode().split("\0")[:-1]


def _arpa_words(file):
    counts, words = [], []
    for line in file:
        if line.strip() == b"\\1-grams:":
            break
        if line.startswith(b"ngram "):
            counts.append(int(line.partition(b"=")[2]))
    for line in file:
        if line.startswith(b"\\"):
            break
        if line.strip():
            _, word, *_ = line.split()
            words.append(word.decode())
    if not words:
        raise ValueError("it is neither an ARPA file nor a KenLM binary")
    if len(counts) < 2:
        raise ValueError("it contains only unigrams, and KenLM needs bigrams or longer")
    if len(words) != counts[0]:
        raise ValueError(f"it holds {len(words)} of {counts[0]} unigrams")
    return words
