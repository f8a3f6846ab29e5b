"""Writes n-grams as ARPA files; reads ARPA files, and the vocabulary of KenLM binaries."""

import gzip
import mmap
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
BINARY = b"mmap lm http://kheafield.com/code"
GZIP = b"\x1f\x8b"
SPACES = b"\0\t\r\n "  # what KenLM splits at; other spaces may be part of a word


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


def read_arpa(path: str | Path) -> Iterator[tuple[int, float, list[bytes], float]]:
    """Read the n-grams of an ARPA file one by one.

    Arguments
    ---------
    path : str or Path
        The ARPA file, plain or gzipped. Its content tells which, not its name.

    Yields
    ------
    tuple of (int, float, list of bytes, float)
        Order, log10 probability, words and log10 back-off weight (0 where there is none).

    Raises
    ------
    UserError
        If there is no such file, it is no ARPA file, it is cut short, it contains only unigrams, or a
        line cannot be read.
    """
    check_file(path, f"no n-gram at {path}")
    with open(path, "rb") as file:
        zipped = file.read(len(GZIP)) == GZIP
    with gzip.open(path) if zipped else open(path, "rb") as file:
        try:
            number, order, counts, seen = 0, 0, [], 0
            for number, line in enumerate(file, 1):  # noqa: B007, the number is used below
                line = line.strip(SPACES)
                if order and line and not line.startswith(b"\\"):
                    seen += 1
                    yield _ngram(line, order)
                elif line.startswith(b"ngram "):
                    counts.append(int(line.partition(b"=")[2]))
                elif line.startswith(b"\\") and counts:
                    if order and seen != counts[order - 1]:
                        raise ValueError(f"there are {seen} of {counts[order - 1]} {order}-grams")
                    if len(counts) < 2:
                        raise ValueError("it contains only unigrams; bigrams or longer are needed")
                    order, seen = order + 1, 0
                    if line == b"\\end\\" and order > len(counts):
                        return
                    if line != b"\\%d-grams:" % order or order > len(counts):
                        raise ValueError(f"{line.decode()} is not the start of the {order}-grams")
            if not counts:
                raise ValueError("it is neither an ARPA file nor a KenLM binary")
            raise ValueError("it is cut short: there is no \\end\\")
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path} cannot be read as an n-gram: line {number}: {error}") from None


def _ngram(line, order):
    """Parse one line: log-probability, words and, if there is one, back-off weight."""
    fields = _SPLIT(line)
    if not order + 1 <= len(fields) <= order + 2:
        raise ValueError(f"{line.decode(errors='replace')!r} is no {order}-gram")
    log_prob = _number(fields[0])
    backoff = _number(fields[-1]) if len(fields) == order + 2 else 0.0
    if not log_prob <= 0:
        raise ValueError(f"{fields[0].decode()} is no log-probability")
    return order, log_prob, fields[1 : order + 1], backoff


_SPLIT = re.compile(b"[" + re.escape(SPACES) + b"]+").split


def _number(field):
    try:
        return float(field)
    except ValueError:
        raise ValueError(f"{field.decode(errors='replace')!r} is not a number") from None


def read_unigrams(path: str | Path) -> list[str]:
    """The words of an n-gram.

    Reads the unigrams alone and, of a plain ARPA file, the end. This finds most of the faults that
    loading a large file would find after minutes.

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
    if is_binary(path):
        words = _binary_words(path)
    else:
        words = []
        for order, _, names, _ in read_arpa(path):
            if order > 1:
                break
            words.append(names[0])
        _check_end(path)
    try:
        names = [word.decode() for word in words]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read as an n-gram: {error}") from None
    return [word for word in names if word.lower() not in (UNK, BOS, EOS)]


def is_binary(path: str | Path) -> bool:
    """Whether a file is a binary of KenLM's ``build_binary``."""
    with open(path, "rb") as file:
        return file.read(len(BINARY)) == BINARY


def _binary_words(path):
    """The words at the end of a binary, each followed by a zero byte."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.rfind(b"<unk>\0")
        if at < 0:
            raise UserError(f"{path} cannot be read as an n-gram: it is a binary without its words")
        return data[at:].split(b"\0")[:-1]


def _check_end(path):
    """Check that a plain file ends as an ARPA file does."""
    with open(path, "rb") as file:
        start = file.read(len(GZIP))
        file.seek(max(0, Path(path).stat().st_size - 1000))
        if start != GZIP and b"\\end\\" not in file.read():
            raise UserError(f"{path} cannot be read as an n-gram: it is cut short: there is no \\end\\")
