import ctypes
import re

import pytest

from speechbrain_recursive.data.espeak import Espeak
from speechbrain_recursive.data.grammar import sentences, word_types


@pytest.fixture(scope="module")
def phonemes():
    """``phonemes(text)``: how eSpeak NG reads Mandarin, as it writes phonemes, stress left out."""
    library = Espeak("cmn")._library
    library.espeak_SetVoiceByName(b"cmn")
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def read(text):
        rest, said = ctypes.c_char_p(text.encode()), []
        while rest.value:
            said.append(library.espeak_TextToPhonemes(ctypes.byref(rest), 1, 0).decode())
        return re.sub("[_|' ]", "", " ".join(said))

    return read


def test_at_least_200_english_types_of_plain_letters():
    types = word_types("en-us")
    assert len(set(types)) == len(types) >= 200
    assert all(re.fullmatch(r"[A-Z][A-Z']*", word) for word in types)
    assert {c for word in types for c in word} == {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"}


def test_mandarin_characters_sound_different(phonemes):
    characters = {c for word in word_types("cmn") for c in word}
    assert len(characters) >= 100
    readings = {}
    for character in sorted(characters):
        assert "\u4e00" <= character <= "\u9fff"
        readings.setdefault(phonemes(character), set()).add(character)
        assert "(en)" not in phonemes(character), "eSpeak does not know it"
    homophones = [same for same in readings.values() if len(same) > 1]
    assert homophones == [{"地", "的"}]
    assert phonemes("地图").startswith("ti51"), "in its word it is no homophone"


def test_all_of_mandarin_is_said_often():
    text = "".join(sentences(4000, seed=3, language="cmn")).replace(" ", "")
    characters = {c for word in word_types("cmn") for c in word}
    assert {*text} == characters
    assert min(text.count(c) for c in characters) > 50
    assert 9 < len(text) / 4000 < 10


def test_sentences_are_distinct_and_use_all_types_and_no_others():
    drawn = sentences(4000, seed=3)
    assert len(set(drawn)) == 4000
    assert {word for sentence in drawn for word in sentence.split()} == {*word_types("en-us")}


def test_seed_decides():
    assert sentences(20, seed=1) == sentences(50, seed=1)[:20] != sentences(20, seed=2)
