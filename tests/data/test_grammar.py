import ctypes
import re

import pytest

from speechbrain_recursive.data.espeak import Espeak
from speechbrain_recursive.data.french import normalize
from speechbrain_recursive.data.grammar import sentences, word_types


@pytest.fixture(scope="module")
def phonemes():
    """``phonemes(text, language)``: how eSpeak NG reads a text, in its phonemes without stress."""
    espeak = Espeak()  # its data is there as long as the object is
    to_phonemes = espeak._library.espeak_TextToPhonemes
    to_phonemes.restype = ctypes.c_char_p

    def read(text, language="cmn"):
        espeak._library.espeak_SetVoiceByName(language.encode())
        rest, said = ctypes.c_char_p(text.encode()), []
        while rest.value:
            said.append(to_phonemes(ctypes.byref(rest), 1, 0).decode())
        return re.sub("[_|' ,-]", "", " ".join(said))

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


def test_french_words_sound_different(phonemes):
    types = word_types("fr")
    assert len(types) >= 200
    readings = {}
    for word in types:
        reading = phonemes(word.lower(), "fr")
        assert "(" not in reading, f"eSpeak reads {word} in another language"
        readings.setdefault(reading, set()).add(word)
    assert [same for same in readings.values() if len(same) > 1] == [{"a", "à"}]


def test_french_has_accents_elision_ligatures_and_liaison():
    text = " ".join(word_types("fr")).lower()
    assert {*"àâçèéêëîïôùû'-œ"} <= {*text}
    drawn = sentences(4000, seed=3, language="fr")
    assert len({normalize(sentence) for sentence in drawn}) == 4000
    assert {word for sentence in drawn for word in sentence.split()} == {*word_types("fr")}
    liaison = re.compile(r"\b(les|ses|nos|deux|trois|onze|plusieurs|quelques) [aeiouéœâhoô]")
    assert 200 < sum(bool(liaison.search(sentence)) for sentence in drawn) < 2000


def test_sentences_are_distinct_and_use_all_types_and_no_others():
    drawn = sentences(4000, seed=3)
    assert len(set(drawn)) == 4000
    assert {word for sentence in drawn for word in sentence.split()} == {*word_types("en-us")}


def test_seed_decides():
    assert sentences(20, seed=1) == sentences(50, seed=1)[:20] != sentences(20, seed=2)
