"""A tokeniser of characters, small enough to enumerate."""

import pytest


class Characters:
    """Pieces: blank, bos, eos, unk, the word boundary and ``letters``."""

    blank, bos, eos, unk = 0, 1, 2, 3

    def __init__(self, letters):
        self.pieces = ["<blank>", "<bos>", "<eos>", "<unk>", "|", *letters]

    def __len__(self):
        return len(self.pieces)

    def encode(self, text):
        return [self.pieces.index("|" if letter == " " else letter) for letter in text]

    def decode(self, ids):
        return " ".join("".join(self.pieces[i] for i in ids).replace("|", " ").split())


@pytest.fixture(scope="session")
def characters():
    return Characters
