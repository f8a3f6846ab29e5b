"""What all tokenizers share: the layout of their pieces, the units of a text, and their file."""

import json
import unicodedata

from speechbrain_recursive.files import write_whole


class Pieces:
    """The pieces of a tokenizer, with the marks before them.

    Arguments
    ---------
    pieces : list of str
        Of text, each once.
    seq2seq : bool
        Whether there are ``<bos>`` and ``<eos>``.

    Attributes
    ----------
    pieces : list of str
        From id to piece, the marks included.
    blank, bos, eos, unk : int or None
        Ids of the marks.
    metric : str
        What the error rate of :meth:`units` is called.
    """

    blank = 0
    metric = "wer"

    def __init__(self, pieces, seq2seq):
        marks = ["<blank>", "<bos>", "<eos>", "<unk>"] if seq2seq else ["<blank>", "<unk>"]
        self.pieces = [*marks, *pieces]
        self.bos, self.eos = (1, 2) if seq2seq else (None, None)
        self.unk = len(marks) - 1
        self.seq2seq = seq2seq

    def __len__(self):
        return len(self.pieces)

    def units(self, text):
        """What errors in a text are counted in, and what n-grams are made of: its words.

        Arguments
        ---------
        text : str
            A transcript or a hypothesis.

        Returns
        -------
        list of str
        """
        return text.split()

    def save(self, path, **extra):
        """Write the JSON file that ``load_tokenizer`` reads, at once or not at all.

        Arguments
        ---------
        path : str or Path
            Where.
        **extra
            What else to keep in it.
        """
        content = {"kind": self.kind, "seq2seq": self.seq2seq, **self._content(), **extra}
        write_whole(path, json.dumps(content, ensure_ascii=False, indent=1))


def normal(text):
    """One space between words, and composed characters (NFC); nothing else is changed."""
    return unicodedata.normalize("NFC", " ".join(text.split()))
