"""ARPA files of n-grams, and the vocabulary of what KenLM makes of them."""

import gzip
from pathlib import Path

from speechbrain_recursive.errors import UserError

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
BINARY = b"mmap lm http://kheafield.com/code"


def write_arpa(file, vocabulary, orders):
    """Writes what :func:`speechbrain_recursive.decoding.ngram.kneser_ney` returned as an ARPA file.

    Arguments
    ---------
    file : text file
        Where to write.
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
        backoff = grams.backoff if n < len(orders) else [None] * len(names)
        for name, log_prob, weight in zip(names, grams.log_prob, backoff, strict=True):
            file.write(
                f"{log_prob:.7g}\t{name}\n"
                if weight is None
                else f"{log_prob:.7g}\t{name}\t{weight:.7g}\n"
            )
    file.write("\n\\end\\\n")


def read_unigrams(path):
    """The words that a KenLM model knows.

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
        If there is no such file, or it is neither.
    """
    if not Path(path).is_file():
        raise UserError(f"no n-gram at {path}")
    with open(path, "rb") as file:
        binary = file.read(len(BINARY)) == BINARY
    if binary:  # it ends with its words, each closed by a zero byte
        data = Path(path).read_bytes()
        at = data.rfind(b"<unk>\0")
        words = [] if at < 0 else data[at:].decode().split("\0")[:-1]
    else:
        opener = gzip.open if str(path).endswith(".gz") else open
        with opener(path, "rb") as file:
            words = _arpa_unigrams(file)
    if not words:
        raise UserError(f"{path} is neither an ARPA file nor a KenLM binary with its vocabulary")
    return [word for word in words if word.lower() not in (UNK, BOS, EOS)]


def _arpa_unigrams(file):
    words, inside = [], False
    for line in file:
        if inside and line.startswith(b"\\"):
            break
        if inside and line.strip():
            words.append(line.decode().split()[1])
        inside = inside or line.strip() == b"\\1-grams:"
    return words
