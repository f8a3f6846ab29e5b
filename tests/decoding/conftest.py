"""A slow n-gram that the fast ones are compared with."""

from pathlib import Path

import pytest


class SlowNgram:
    """The definition of the ARPA format, word by word."""

    def __init__(self, path):
        lines = Path(path).read_text(encoding="utf-8").split("\n")
        rows = [line.split("\t") for line in lines if "\t" in line]
        self.grams = {tuple(row[1].split(" ")): (float(row[0]), float([*row, 0][2])) for row in rows}
        self.order = max(map(len, self.grams))

    def word(self, history, word):
        """log10 p(word | history)."""
        if (*history, word) in self.grams:
            return self.grams[(*history, word)][0]
        return self.grams.get(history, (0, 0))[1] + self.word(history[1:], word)

    def score(self, words, bos=True):
        """log10 probability of a sentence with its end."""
        known = [word if (word,) in self.grams else "<unk>" for word in words]
        text = (*["<s>"] * bos, *known, "</s>")
        return sum(
            self.word(text[max(0, i - self.order + 1) : i], text[i]) for i in range(bos, len(text))
        )


@pytest.fixture(scope="session")
def slow_ngram():
    """``slow_ngram(path)``, with ``score(words, bos=True)``."""
    return SlowNgram
