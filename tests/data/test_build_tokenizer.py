import json

import pytest

from speechbrain_recursive.data.build_tokenizer import build_tokenizer
from speechbrain_recursive.data.manifest import write_manifest
from speechbrain_recursive.data.tokenizers import CharacterTokenizer, load_tokenizer
from speechbrain_recursive.errors import UserError


@pytest.fixture
def manifest(tmp_path):
    def write(*texts):
        row = {"duration": 1.0, "wav": "a.wav", "spk_id": "s", "unreadable": ""}
        rows = [row | {"ID": str(i), "wrd": text} for i, text in enumerate(texts)]
        write_manifest(tmp_path / "train.csv", rows)
        return [tmp_path / "train.csv"]

    return write


def test_made_once_and_again_when_options_or_text_change(manifest, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    manifests = manifest("A CAB")
    assert build_tokenizer(path, manifests).pieces[4:] == ["|", "A", "B", "C"]
    with monkeypatch.context() as patch:
        patch.setattr(CharacterTokenizer, "save", None)  # would fail if it were made again
        assert build_tokenizer(path, manifests).pieces[4:] == ["|", "A", "B", "C"]
    assert build_tokenizer(path, manifests, seq2seq=False).bos is None
    assert load_tokenizer(path).bos is None
    assert build_tokenizer(path, manifests, alphabet="CBAZ").pieces[4:] == ["|", "A", "B", "C", "Z"]
    assert build_tokenizer(path, manifests, boundary=False).pieces[4:] == ["A", "B", "C"]
    assert len(build_tokenizer(path, manifests, vocab_size=20)) == 20
    assert build_tokenizer(path, manifest("A CAD")).pieces[4:] == ["|", "A", "C", "D"]


def test_text_that_the_alphabet_cannot_spell_is_named(manifest, tmp_path):
    with pytest.raises(UserError, match=r"train\.csv: 1 has \? é, which the alphabet lacks"):
        build_tokenizer(tmp_path / "t.json", manifest("A CAB", "CAFé?"), alphabet="ABCF")


def test_a_damaged_file_is_made_anew(manifest, tmp_path):
    path = tmp_path / "tokenizer.json"
    for text in ("{", "[]", json.dumps({"kind": "characters"})):
        path.write_text(text)
        assert len(build_tokenizer(path, manifest("A CAB"))) == 8


def test_subwords(manifest, tmp_path):
    manifests = manifest("THE CAT", "THE HAT", "THAT CAT")
    tokenizer = build_tokenizer(tmp_path / "t.json", manifests, "sentencepiece", vocab_size=12)
    assert len(tokenizer) == 12
    bpe = build_tokenizer(
        tmp_path / "t.json", manifests, "sentencepiece", vocab_size=12, model_type="bpe"
    )
    assert len(bpe) == 12
    assert bpe.pieces != tokenizer.pieces


@pytest.mark.parametrize("options", [{"kind": "words"}, {"kind": "sentencepiece"}])
def test_options_are_checked(manifest, tmp_path, options):
    with pytest.raises(UserError, match=r"not 'words'|needs vocab_size"):
        build_tokenizer(tmp_path / "t.json", manifest("A"), **options)
