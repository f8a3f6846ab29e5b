import json

import pytest

from speechbrain_recursive.data.tokenizers import (
    CharacterTokenizer,
    SentencePieceTokenizer,
    load_tokenizer,
)
from speechbrain_recursive.errors import UserError

TEXTS = ["THE SAILOR DIDN'T FIND THE LANTERN", "SEVEN LEMONS", "THE SEVEN SAILORS FIND LEMONS"]


def characters(seq2seq=True):
    return CharacterTokenizer.from_texts(TEXTS, seq2seq)


def subwords(seq2seq=True):
    return SentencePieceTokenizer.from_texts(TEXTS, 22, seq2seq)


@pytest.mark.parametrize("make", [characters, subwords])
@pytest.mark.parametrize("seq2seq", [True, False])
def test_layout_and_round_trip(make, seq2seq, tmp_path):
    tokenizer = make(seq2seq)
    marks = ["<blank>", "<bos>", "<eos>", "<unk>"] if seq2seq else ["<blank>", "<unk>"]
    assert tokenizer.pieces[: len(marks)] == marks
    assert (tokenizer.blank, tokenizer.bos, tokenizer.eos) == (0, *((1, 2) if seq2seq else (None, None)))
    assert tokenizer.pieces[tokenizer.unk] == "<unk>"
    assert len(tokenizer) == len(tokenizer.pieces) == len(set(tokenizer.pieces))
    for text in [*TEXTS, "LANTERN", ""]:
        ids = tokenizer.encode(text)
        assert all(tokenizer.unk < i < len(tokenizer) for i in ids)
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode([0, *range(tokenizer.unk), *ids, 0]) == text, "marks say nothing"
    assert tokenizer.encode("  THE   LEMONS ") == tokenizer.encode("THE LEMONS")

    tokenizer.save(tmp_path / "sub" / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "sub" / "tokenizer.json")
    assert type(loaded) is type(tokenizer)
    assert loaded.pieces == tokenizer.pieces
    assert (loaded.bos, loaded.eos, loaded.unk) == (tokenizer.bos, tokenizer.eos, tokenizer.unk)
    assert loaded.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_pieces_spell_the_text():
    tokenizer = characters()
    assert [tokenizer.pieces[i] for i in tokenizer.encode("THE SEA")] == [*"THE|SEA"]
    tokenizer = subwords()
    spelled = "".join(tokenizer.pieces[i] for i in tokenizer.encode(TEXTS[0]))
    assert spelled == "\u2581" + TEXTS[0].replace(" ", "\u2581")
    assert len(tokenizer) == 22


@pytest.mark.parametrize("make", [characters, subwords])
def test_unknown_characters_become_unk(make):
    tokenizer = make()
    ids = tokenizer.encode("SE\u00c7EN")
    assert tokenizer.unk in ids
    assert "\u2047" in tokenizer.decode(ids)


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


def test_units_and_metric():
    assert characters().units("THE  CAT ") == ["THE", "CAT"]
    assert characters().metric == subwords().metric == "wer"
    tokenizer = CharacterTokenizer("山水", boundary=False)
    assert tokenizer.units(" 山 水火") == ["山", "水", "火"]
    assert tokenizer.metric == "cer"


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
    with pytest.raises(UserError, match=f"n_tokens {first + 2}: .* so set --n_tokens {first + 3}"):
        CharacterTokenizer.from_texts(["CAB"], boundary=boundary, size=first + 2)


def test_a_file_that_says_nothing_of_boundaries_has_them(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"kind": "characters", "seq2seq": False, "alphabet": "AB"}))
    assert load_tokenizer(path).pieces == ["<blank>", "<unk>", "|", "A", "B"]


def test_more_pieces_than_the_text_supports():
    with pytest.raises(UserError, match="cannot make 5000 pieces"):
        SentencePieceTokenizer.from_texts(TEXTS, 5000)


def test_files_that_are_no_tokenizers_are_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match=f"no tokenizer at {path}"):
        load_tokenizer(path)
    for text in ("{", "[]", json.dumps({"kind": "words", "seq2seq": True})):
        path.write_text(text)
        with pytest.raises(UserError, match=f"{path} is not a tokenizer"):
            load_tokenizer(path)
