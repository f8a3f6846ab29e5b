import json

import pytest
from hyperpyyaml import load_hyperpyyaml

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.manifest import write_manifest
from speechbrain_recursive.data.subwords import SentencePieceTokenizer
from speechbrain_recursive.data.tokenizers import TokenizerSpec, load_tokenizer
from speechbrain_recursive.data.wordpiece import WordPieceTokenizer
from speechbrain_recursive.errors import UserError

TEXTS = ["THE SAILOR DIDN'T FIND THE LANTERN", "SEVEN LEMONS", "THE SEVEN SAILORS FIND LEMONS"]


def characters(seq2seq=True):
    return CharacterTokenizer.from_texts(TEXTS, seq2seq)


def subwords(seq2seq=True):
    return SentencePieceTokenizer.from_texts(TEXTS, 22, seq2seq)


def wordpieces(seq2seq=True):
    return WordPieceTokenizer.from_texts(TEXTS, 60, seq2seq)


@pytest.mark.parametrize("make", [characters, subwords, wordpieces])
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


@pytest.mark.parametrize("make", [characters, subwords, wordpieces])
def test_unknown_characters_become_unk(make):
    tokenizer = make()
    ids = tokenizer.encode("SE\u00c7EN")
    assert tokenizer.unk in ids
    assert "\u2047" in tokenizer.decode(ids)


def test_a_file_that_says_nothing_of_boundaries_has_them(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"kind": "characters", "seq2seq": False, "alphabet": "AB"}))
    assert load_tokenizer(path).pieces == ["<blank>", "<unk>", "|", "A", "B"]


def test_files_that_are_no_tokenizers_are_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match=f"no tokenizer at {path}"):
        load_tokenizer(path)
    for text in ("{", "[]", json.dumps({"kind": "words", "seq2seq": True})):
        path.write_text(text)
        with pytest.raises(UserError, match=f"{path} is not a tokenizer"):
            load_tokenizer(path)


LETTERS = "'ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture
def manifest(tmp_path):
    def write(*texts):
        row = {"duration": 1.0, "wav": "a.wav", "spk_id": "s", "unreadable": ""}
        rows = [row | {"ID": str(i), "wrd": text} for i, text in enumerate(texts)]
        write_manifest(tmp_path / "train.csv", rows)
        return [tmp_path / "train.csv"]

    return write


@pytest.mark.parametrize(
    ("spec", "text", "size"),
    [
        (TokenizerSpec(characters=LETTERS), "A CAB", 32),
        (TokenizerSpec(characters=LETTERS, seq2seq=0), "A CAB", 30),
        (TokenizerSpec("char", characters="山水"), "山 水", 6),
        (TokenizerSpec("char", size=20), "山 水", 20),
        (TokenizerSpec("unigram", size=12), "THE CAT THAT HAT", 12),
        (TokenizerSpec("bpe", size=12, seq2seq=0), "THE CAT THAT HAT", 12),
        (TokenizerSpec(characters=LETTERS, size=32), "A CAB", 32),
        (TokenizerSpec("wordpiece", size=19), "THE CAT THAT HAT", 19),
    ],
)
def test_the_size_is_known_before_there_is_a_corpus(manifest, tmp_path, spec, text, size):
    assert len(spec) == size
    tokenizer = spec.build(tmp_path / "t.json", manifest(text))
    assert len(tokenizer) == size
    assert getattr(tokenizer, "boundary", True) == (spec.token_type != "char")


def test_yaml_takes_the_number_of_tokens_from_the_tokenizer():
    yaml = """
num_decoder_layers: 24
tokenizer: !new:speechbrain_recursive.data.tokenizers.TokenizerSpec
    characters: "'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    seq2seq: !ref <num_decoder_layers>
n_tokens: !apply:len [!ref <tokenizer>]
"""
    assert load_hyperpyyaml(yaml)["n_tokens"] == 32
    assert load_hyperpyyaml(yaml, {"num_decoder_layers": 0})["n_tokens"] == 30


def test_made_once_and_again_when_options_or_text_change(manifest, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    manifests = manifest("A CAB")
    first = TokenizerSpec(characters="ABC")
    assert first.build(path, manifests).pieces[4:] == ["|", "A", "B", "C"]
    with monkeypatch.context() as patch:
        patch.setattr(CharacterTokenizer, "save", None)  # would fail if it were made again
        assert first.build(path, manifests).pieces[4:] == ["|", "A", "B", "C"]
        TokenizerSpec(characters="ABC", seq2seq=6).build(path, manifests)  # any true value is the same
    assert TokenizerSpec(characters="ABC", seq2seq=False).build(path, manifests).bos is None
    assert load_tokenizer(path).bos is None
    more = TokenizerSpec(characters="CBAZ")
    assert more.build(path, manifests).pieces[4:] == ["|", "A", "B", "C", "Z"]
    exact = TokenizerSpec("char", size=7)
    assert exact.build(path, manifests).pieces[4:] == ["A", "B", "C"]
    assert len(TokenizerSpec("char", size=20).build(path, manifests)) == 20
    assert exact.build(path, manifest("A CAD")).pieces[4:] == ["A", "C", "D"]


def test_text_that_the_alphabet_cannot_spell_is_named(manifest, tmp_path):
    spec = TokenizerSpec(characters="ABCF\u00c9")
    with pytest.raises(
        UserError, match=r"train\.csv, line 3: 1 has \? é, which the alphabet does not contain"
    ):
        spec.build(tmp_path / "t.json", manifest("A CAB", "CAFé?"))
    assert len(spec.build(tmp_path / "t.json", manifest("CAFE\u0301".replace("FE", "E")))) == 10


def test_text_of_more_characters_than_the_size(manifest, tmp_path):
    with pytest.raises(UserError, match=r"size is 6, .* make 7 tokens: set size to 7"):
        TokenizerSpec("char", size=6).build(tmp_path / "t.json", manifest("A CAB"))


def test_a_damaged_file_is_made_anew(manifest, tmp_path):
    path = tmp_path / "tokenizer.json"
    for text in ("{", "[]", json.dumps({"kind": "characters"})):
        path.write_text(text)
        assert len(TokenizerSpec(characters="ABC").build(path, manifest("A CAB"))) == 8


def test_subword_models_differ(manifest, tmp_path):
    manifests = manifest("THE CAT", "THE HAT", "THAT CAT")
    unigram = TokenizerSpec(size=12).build(tmp_path / "t.json", manifests)
    bpe = TokenizerSpec("bpe", size=12).build(tmp_path / "t.json", manifests)
    assert len(bpe) == len(unigram) == 12
    assert bpe.pieces != unigram.pieces


def test_coverage_leaves_room_where_a_text_has_many_rare_letters(manifest, tmp_path):
    foreign = "".join(map(chr, range(0x3B1, 0x3C9)))  # each once among 3,000 letters
    manifests = manifest(*["THE CAT HAT THAT"] * 250, foreign)
    with pytest.raises(UserError, match=r"SentencePiece cannot make 13 pieces.*required_chars"):
        TokenizerSpec(size=13).build(tmp_path / "t.json", manifests)
    tokenizer = TokenizerSpec(size=13, coverage=0.99).build(tmp_path / "t.json", manifests)
    assert len(tokenizer) == 13
    assert tokenizer.decode(tokenizer.encode("THE HAT")) == "THE HAT"
    assert tokenizer.unk in tokenizer.encode(foreign)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_type": "words"}, "token_type is unigram, bpe, char or wordpiece, not 'words'"),
        ({}, "give its size, or an alphabet as characters"),
        ({"token_type": "char"}, "give its size"),
        ({"size": 4}, "size is a number of at least 5 tokens, not 4"),
        ({"size": 2, "seq2seq": False}, "at least 3 tokens, not 2"),
        ({"size": "many"}, "not 'many'"),
        ({"size": True}, "not True"),
        ({"characters": ""}, "an alphabet, such as --tokenizer '{characters: \"ABC\"}', not ''"),
        ({"characters": 123}, "not 123"),
        ({"size": 20, "coverage": 0.9}, "coverage is from 0.98 to 1, not 0.9"),
        ({"size": 20, "coverage": "all"}, "coverage is from 0.98 to 1, not 'all'"),
        ({"characters": "ABC", "coverage": 0.99}, "coverage is for subwords of SentencePiece; set it"),
        ({"token_type": "wordpiece"}, "give its size"),
        ({"token_type": "wordpiece", "characters": "ABC"}, "takes no alphabet; set characters to null"),
        ({"size": 20, "vocabulary": "bert"}, "vocabulary is for wordpiece, not for unigram"),
        ({"characters": "ABC", "size": 5000}, "size is 5000, but characters make 8 tokens: set size to"),
    ],
)
def test_options_are_checked_before_there_is_a_corpus(options, message):
    with pytest.raises(UserError, match=message) as error:
        TokenizerSpec(**options)
    assert "\n" not in str(error.value)


def test_an_alphabet_may_be_decomposed(manifest, tmp_path):
    spec = TokenizerSpec(characters="CAFE\u0301")
    assert len(spec) == len(TokenizerSpec(characters="CAF\u00c9")) == 9
    tokenizer = spec.build(tmp_path / "t.json", manifest("CAF\u00c9"))
    assert tokenizer.unk not in tokenizer.encode("CAFE\u0301")


def test_a_vocabulary_of_bert(manifest, tmp_path):
    vocabulary = tmp_path / "bert/vocab.txt"
    vocabulary.parent.mkdir()
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[unused1]\nthe\ncat\n##s\n'\n")
    path = tmp_path / "tokenizer.json"
    for source in (vocabulary, vocabulary.parent):
        spec = TokenizerSpec("wordpiece", size=11, vocabulary=source)
        tokenizer = spec.build(path, manifest("THE CATS", "CAT'S".replace("S", "THE")))
        assert tokenizer.pieces[4:] == ["the", "cat", "##s", "'", "##'", "'##", "##'##"]
        assert load_tokenizer(path).decode(tokenizer.encode("THE CAT'THE CATS'")) == "THE CAT'THE CATS'"
    assert spec.build(path, manifest("the cat")).decode([4]) == "the"
    with pytest.raises(
        UserError, match=r"train\.csv, line 3: 1 has DOGS, which the vocabulary of .*bert"
    ):
        spec.build(path, manifest("THE CAT", "THE DOGS"))
    with pytest.raises(UserError, match="line 2: 0 has The, which"):  # would be read back as "the"
        spec.build(path, manifest("The cat"))
    with pytest.raises(UserError, match=r"size is 12, but the vocabulary of .* makes 11 tokens"):
        TokenizerSpec("wordpiece", size=12, vocabulary=source).build(path, manifest("CAT"))
    vocabulary.write_text("the\ncat\n")
    with pytest.raises(UserError, match=r"vocabulary: .*vocab.txt is not BERT's: it lacks \[CLS\]"):
        TokenizerSpec("wordpiece", size=11, vocabulary=source).build(path, manifest("CAT"))
    vocabulary.unlink()
    with pytest.raises(UserError, match=r"bert is not BERT-like: it has no vocab\.txt"):
        TokenizerSpec("wordpiece", size=11, vocabulary=source).build(path, manifest("CAT"))


def test_a_vocabulary_that_cannot_be_fetched(manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec = TokenizerSpec("wordpiece", size=11, vocabulary=str(tmp_path / "none"))
    with pytest.raises(
        UserError, match=r"none is no folder, and its vocab\.txt cannot be fetched"
    ) as error:
        spec.build(tmp_path / "t.json", manifest("CAT"))
    assert "\n" not in str(error.value)
