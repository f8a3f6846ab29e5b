import pytest
from transformers import BertTokenizer

from speechbrain_recursive.data.grammar import sentences
from speechbrain_recursive.data.tokenizers import from_content
from speechbrain_recursive.data.wordpiece import WordPieceTokenizer
from speechbrain_recursive.errors import UserError

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ODD = ["ROCK 'N' ROLL", "THE BOYS' HATS", "'TWAS O'CLOCK", "DON''T", "- A -", "A-B-C", "S.'S", ""]


@pytest.fixture(scope="module")
def texts():
    return [*sentences(200, seed=0), *ODD]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return WordPieceTokenizer.from_texts(texts, 200)


def test_pieces_are_those_of_transformers(texts, tokenizer, tmp_path):
    """One to one, though ours say more of punctuation marks, so that all texts can be read back."""
    words = [word for word in dict.fromkeys(tokenizer.words) if word]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*MARKS, *words]) + "\n")
    theirs = BertTokenizer(str(path), do_lower_case=True)
    for text in texts:
        ids = tokenizer.encode(text)
        assert [tokenizer.words[i] for i in ids] == theirs.tokenize(text)
        assert tokenizer.decode(ids) == text
    split = theirs.tokenize("XYLOPHONE")
    assert [tokenizer.words[i] for i in tokenizer.encode("XYLOPHONE")] == split
    assert len(split) > 2


def test_it_is_the_same_whenever_it_is_made(texts, tokenizer):
    again = WordPieceTokenizer.from_texts(texts, 200)
    assert len(again) == 200
    assert again.pieces == tokenizer.pieces
    copy = from_content({"kind": "wordpiece", "seq2seq": True, **tokenizer._content()})
    assert (copy.pieces, copy.words, copy.upper) == (tokenizer.pieces, tokenizer.words, True)


def test_more_pieces_shorten_texts(texts):
    lengths = []
    for size in (120, 200, 400):
        tokenizer = WordPieceTokenizer.from_texts(texts, size)
        lengths.append(sum(len(tokenizer.encode(text)) for text in texts))
    assert lengths[0] > 1.2 * lengths[1] > 1.4 * lengths[2]


def test_case():
    mixed = WordPieceTokenizer.from_texts(["The cat", "THE CAT"], 30)
    for text in ("The cat", "THE CAT"):
        assert mixed.decode(mixed.encode(text)) == text
    small = WordPieceTokenizer.from_texts(["the cat"], 16)
    assert small.encode("THE CAT") == small.encode("the cat")
    assert small.decode(small.encode("THE CAT")) == "the cat"


def test_what_cannot_be_spelled_is_one_unknown(tokenizer):
    assert tokenizer.encode("THÉ") == [tokenizer.unk]
    ids = tokenizer.encode("THE ÉCAT'S")
    assert ids.count(tokenizer.unk) == 1
    assert tokenizer.decode(ids) == "THE ⁇'S"


def test_marks_of_bert_are_no_text():
    tokenizer = WordPieceTokenizer([*MARKS, "[unused1]", "<unk>", "[", "]", "|", "a"])
    assert tokenizer.pieces[4:] == ["[", "]", "a", *tokenizer.pieces[7:]]
    assert len(tokenizer.pieces[7:]) == 6


def test_sizes_that_do_not_fit():
    with pytest.raises(UserError, match=r"size is 8, but the characters .* make 14 pieces"):
        WordPieceTokenizer.from_texts(["THE CAT"], 8)
    with pytest.raises(
        UserError, match=r"training text has \d+ pieces at most: set size to \d+ or less"
    ):
        WordPieceTokenizer.from_texts(["THE CAT"], 50)


def test_the_alphabet_has_letters_of_either_case_if_the_vocabulary_folds_them():
    folding = WordPieceTokenizer(["'", "d", "o", "##o", "##ne"])
    assert folding.alphabet == {*"'doDO"}
    assert WordPieceTokenizer(["D", "o", "##one"]).alphabet == {*"Do"}
