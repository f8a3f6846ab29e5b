import json

import pytest

from speechbrain_recursive.data.tokenisers import (
    CharacterTokeniser,
    SentencePieceTokeniser,
    load_tokeniser,
)
from speechbrain_recursive.errors import UserError

TEXTS = ["THE SAILOR DIDN'T FIND THE LANTERN", "SEVEN LEMONS", "THE SEVEN SAILORS FIND LEMONS"]


def characters(seq2seq=True):
    return CharacterTokeniser.from_texts(TEXTS, seq2seq)


def subwords(seq2seq=True):
    return SentencePieceTokeniser.from_texts(TEXTS, 22, seq2seq)


@pytest.mark.parametrize("make", [characters, subwords])
@pytest.mark.parametrize("seq2seq", [True, False])
def test_layout_and_round_trip(make, seq2seq, tmp_path):
    tokeniser = make(seq2seq)
    marks = ["<blank>", "<bos>", "<eos>", "<unk>"] if seq2seq else ["<blank>", "<unk>"]
    assert tokeniser.pieces[: len(marks)] == marks
    assert (tokeniser.blank, tokeniser.bos, tokeniser.eos) == (0, *((1, 2) if seq2seq else (None, None)))
    assert tokeniser.pieces[tokeniser.unk] == "<unk>"
    assert len(tokeniser) == len(tokeniser.pieces) == len(set(tokeniser.pieces))
    for text in [*TEXTS, "LANTERN", ""]:
        ids = tokeniser.encode(text)
        assert all(tokeniser.unk < i < len(tokeniser) for i in ids)
        assert tokeniser.decode(ids) == text
        assert tokeniser.decode([0, *range(tokeniser.unk), *ids, 0]) == text, "marks say nothing"
    assert tokeniser.encode("  THE   LEMONS ") == tokeniser.encode("THE LEMONS")

    tokeniser.save(tmp_path / "sub" / "tokeniser.json")
    loaded = load_tokeniser(tmp_path / "sub" / "tokeniser.json")
    assert type(loaded) is type(tokeniser)
    assert loaded.pieces == tokeniser.pieces
    assert (loaded.bos, loaded.eos, loaded.unk) == (tokeniser.bos, tokeniser.eos, tokeniser.unk)
    assert loaded.encode(TEXTS[0]) == tokeniser.encode(TEXTS[0])


def test_pieces_spell_the_text():
    tokeniser = characters()
    assert [tokeniser.pieces[i] for i in tokeniser.encode("THE SEA")] == [*"THE|SEA"]
    tokeniser = subwords()
    spelt = "".join(tokeniser.pieces[i] for i in tokeniser.encode(TEXTS[0]))
    assert spelt == "\u2581" + TEXTS[0].replace(" ", "\u2581")
    assert len(tokeniser) == 22


@pytest.mark.parametrize("make", [characters, subwords])
def test_unknown_characters_become_unk(make):
    tokeniser = make()
    ids = tokeniser.encode("SE\u00c7EN")
    assert tokeniser.unk in ids
    assert "\u2047" in tokeniser.decode(ids)


def test_a_bar_in_the_text_is_not_a_word_boundary():
    tokeniser = CharacterTokeniser("AB|", seq2seq=False)
    assert tokeniser.pieces == ["<blank>", "<unk>", "|", "A", "B"]
    assert tokeniser.encode("A|B A") == [3, 1, 4, 2, 3]


def test_composed_and_decomposed_characters_are_one():
    tokeniser = CharacterTokeniser.from_texts(["E\u0301T\u00c9"])
    assert tokeniser.pieces[4:] == ["|", "T", "\u00c9"]
    assert tokeniser.encode("E\u0301") == tokeniser.encode("\u00c9")


def test_without_boundary_spaces_say_nothing(tmp_path):
    tokeniser = CharacterTokeniser.from_texts(["山 水", "火"], boundary=False)
    assert tokeniser.pieces[4:] == ["山", "水", "火"]
    ids = tokeniser.encode("水 山|火")
    assert ids == [5, 4, tokeniser.unk, 6]
    assert tokeniser.decode(ids) == "水山⁇火"
    tokeniser.save(tmp_path / "tokeniser.json")
    loaded = load_tokeniser(tmp_path / "tokeniser.json")
    assert loaded.pieces == tokeniser.pieces
    assert loaded.encode("水 山|火") == ids


def test_units_and_metric():
    assert characters().units("THE  CAT ") == ["THE", "CAT"]
    assert characters().metric == subwords().metric == "wer"
    tokeniser = CharacterTokeniser("山水", boundary=False)
    assert tokeniser.units(" 山 水火") == ["山", "水", "火"]
    assert tokeniser.metric == "cer"


@pytest.mark.parametrize("boundary", [True, False])
def test_room_that_no_character_takes(boundary, tmp_path):
    tokeniser = CharacterTokeniser.from_texts(["CAB"], boundary=boundary, size=12)
    first = 4 + boundary
    assert len(set(tokeniser.pieces)) == len(tokeniser) == 12
    assert tokeniser.pieces[first : first + 3] == ["A", "B", "C"]
    assert tokeniser.encode("CAB") == [first + 2, first, first + 1]
    tokeniser.save(tmp_path / "tokeniser.json")
    assert load_tokeniser(tmp_path / "tokeniser.json").pieces == tokeniser.pieces
    assert len(CharacterTokeniser.from_texts(["CAB"], boundary=boundary, size=first + 3)) == first + 3
    with pytest.raises(UserError, match=f"n_tokens {first + 2}: .* so set --n_tokens {first + 3}"):
        CharacterTokeniser.from_texts(["CAB"], boundary=boundary, size=first + 2)


def test_a_file_that_says_nothing_of_boundaries_has_them(tmp_path):
    path = tmp_path / "tokeniser.json"
    path.write_text(json.dumps({"kind": "characters", "seq2seq": False, "alphabet": "AB"}))
    assert load_tokeniser(path).pieces == ["<blank>", "<unk>", "|", "A", "B"]


def test_more_pieces_than_the_text_supports():
    with pytest.raises(UserError, match="cannot make 5000 pieces"):
        SentencePieceTokeniser.from_texts(TEXTS, 5000)


def test_files_that_are_no_tokenisers_are_named(tmp_path):
    path = tmp_path / "tokeniser.json"
    with pytest.raises(UserError, match=f"no tokeniser at {path}"):
        load_tokeniser(path)
    for text in ("{", "[]", json.dumps({"kind": "words", "seq2seq": True})):
        path.write_text(text)
        with pytest.raises(UserError, match=f"{path} is not a tokeniser"):
            load_tokeniser(path)
