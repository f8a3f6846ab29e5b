import pytest

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.errors import UserError


def test_a_bar_in_the_text_is_not_a_word_boundary():
    tokenizer = CharacterTokenizer("AB|", seq2seq=False)
    assert tokenizer.pieces == ["<blank>", "<unk>", "|", "A", "B"]
    assert tokenizer.encode("A|B A") == [3, 1, 4, 2, 3]


def test_composed_and_decomposed_characters_are_one():
    tokenizer = CharacterTokenizer.from_texts(["E\u0301T\u00c9"])
    assert tokenizer.pieces[4:] == ["|", "T", "\u00c9"]
    assert tokenizer.encode("E\u0301") == tokenizer.encode("\u00c9")


def test_without_boundary_spaces_say_nothing(tmp_path):
    tokenizer = CharacterTokenizer.from_texts(["山 水", "火"], boundary=False)
    assert tokenizer.pieces[4:] == ["山", "水", "火"]
    ids = tokenizer.encode("水 山|火")
    assert ids == [5, 4, tokenizer.unk, 6]
    assert tokenizer.decode(ids) == "水山⁇火"
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.pieces == tokenizer.pieces
    assert loaded.encode("水 山|火") == ids


@pytest.mark.parametrize("boundary", [True, False])
def test_room_that_no_character_takes(boundary, tmp_path):
    tokenizer = CharacterTokenizer.from_texts(["CAB"], boundary=boundary, size=12)
    first = 4 + boundary
    assert len(set(tokenizer.pieces)) == len(tokenizer) == 12
    assert tokenizer.pieces[first : first + 3] == ["A", "B", "C"]
    assert tokenizer.encode("CAB") == [first + 2, first, first + 1]
    tokenizer.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path / "tokenizer.json").pieces == tokenizer.pieces
    assert len(CharacterTokenizer.from_texts(["CAB"], boundary=boundary, size=first + 3)) == first + 3
    with pytest.raises(UserError, match=f"size is {first + 2}, .*: set size to {first + 3}"):
        CharacterTokenizer.from_texts(["CAB"], boundary=boundary, size=first + 2)
