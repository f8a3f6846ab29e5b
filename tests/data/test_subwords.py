import pytest

from speechbrain_recursive.data.subwords import SentencePieceTokenizer
from speechbrain_recursive.errors import UserError


def test_more_pieces_than_the_text_supports():
    with pytest.raises(UserError, match="cannot make 5000 pieces"):
        SentencePieceTokenizer.from_texts(["SEVEN LEMONS", "THE SAILOR"], 5000)
