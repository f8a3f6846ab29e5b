import re

from speechbrain_recursive.data.grammar import sentences, word_types


def test_at_least_200_types_of_plain_letters():
    types = word_types("en")
    assert len(set(types)) == len(types) >= 200
    assert all(re.fullmatch(r"[A-Z][A-Z']*", word) for word in types)
    assert {c for word in types for c in word} == {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"}


def test_sentences_are_distinct_and_use_all_types_and_no_others():
    drawn = sentences(4000, seed=3)
    assert len(set(drawn)) == 4000
    assert {word for sentence in drawn for word in sentence.split()} == {*word_types("en")}


def test_seed_decides():
    assert sentences(20, seed=1) == sentences(50, seed=1)[:20] != sentences(20, seed=2)
