"""A small BERT in the place of the hub's: alignment of tokens, padding, and what is refused."""

import json

import pytest
import torch
import transformers
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.subwords import SentencePieceTokenizer
from speechbrain_recursive.data.wordpiece import WordPieceTokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.bert import MARKS, Bert, BertIds

CHARACTERS = "一三上下不世中主久之"


@pytest.fixture(scope="module")
def tokenizer():
    return CharacterTokenizer(CHARACTERS, boundary=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, write_bert):
    return write_bert(tmp_path_factory.mktemp("bert"), tokenizer)


def tokens_eos(tokenizer, *texts):
    rows = [[*tokenizer.encode(text), tokenizer.eos] for text in texts]
    width = max(map(len, rows))
    data = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return PaddedData(data, torch.tensor([len(row) / width for row in rows]))


def test_states_are_those_of_transformers_without_cls(folder, tokenizer):
    """[SEP] stands where <eos> does; the text goes through Hugging Face's own tokenizer."""
    texts = ["一三上下", "中", "不世中主久之一"]
    states = Bert(folder, tokenizer)(tokens_eos(tokenizer, *texts))
    assert states.shape == (3, 8, 16)
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    read = transformers.BertTokenizer(str(folder / "vocab.txt"))
    for text, state in zip(texts, states, strict=True):
        inputs = read(text, return_tensors="pt")
        assert inputs["input_ids"][0, [0, -1]].tolist() == [2, 3]
        with torch.no_grad():
            expected = theirs(**inputs).last_hidden_state[0, 1:]
        assert len(expected) == len(text) + 1
        torch.testing.assert_close(state[: len(expected)], expected, atol=1e-5, rtol=1e-5)


def test_it_is_frozen_and_deterministic(folder, tokenizer):
    bert, batch = Bert(folder, tokenizer), tokens_eos(tokenizer, "一三")
    assert not any(parameter.requires_grad for parameter in bert.model.parameters())
    assert bert(batch).equal(bert(batch))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bert(batch).dtype == torch.float32
    assert bert.digest() == Bert(folder, tokenizer).digest()
    with torch.no_grad():
        next(bert.model.parameters())[0, 0] += 1
    assert bert.digest() != Bert(folder, tokenizer).digest()


def test_wordpieces_have_the_ids_of_bert():
    tokenizer = WordPieceTokenizer(["don", "'", "t", "##s"], upper=True)
    vocabulary = [*MARKS, "t", "'", "##s", "##'", "don"]
    ids, real = BertIds(tokenizer, vocabulary)(tokens_eos(tokenizer, "DON'TS", "DONS' É"))
    assert ids[0].tolist() == [2, 9, 6, 5, 7, 3]
    assert ids[1].tolist() == [2, 9, 7, 6, 1, 3]  # the mark itself, not the ##' that BERT never sees
    assert real.all()
    ids, real = BertIds(tokenizer, vocabulary)(tokens_eos(tokenizer, "DON'TS", "DON"))
    assert ids[1, :3].tolist() == [2, 9, 3]
    assert real.sum(1).tolist() == [6, 3]


def test_letters_of_capitals_and_characters_that_bert_lacks():
    tokenizer = CharacterTokenizer.from_texts(["A一三上下不世中主久之"], boundary=False, size=30)
    ids = BertIds(tokenizer, [*MARKS, "a", *CHARACTERS[1:]])
    assert ids.unknown == ["一"]  # the filling up to 30 is not counted
    assert ids.table[tokenizer.encode("A一三")].tolist() == [5, 1, 6]
    with pytest.raises(UserError, match="it knows 2 of this run's 11 tokens"):
        BertIds(tokenizer, [*MARKS, "a", "一"])


@pytest.mark.parametrize(
    "other",
    [
        CharacterTokenizer("ABC"),
        CharacterTokenizer("ABC", seq2seq=False, boundary=False),
        SentencePieceTokenizer.from_texts(["THE CAT HAT"], 11),
    ],
)
def test_tokens_that_are_not_berts(other, folder):
    with pytest.raises(UserError, match=f"bert: {folder}: BERT cannot read the tokens of this run"):
        Bert(folder, other)


def test_more_tokens_than_positions(folder, tokenizer):
    with pytest.raises(UserError, match="reads 510 tokens, an utterance has 511"):
        Bert(folder, tokenizer)(tokens_eos(tokenizer, "一" * 511))


def test_what_is_no_bert_is_refused_in_one_line(folder, tokenizer, write_bert, tmp_path, monkeypatch):
    def refused(source, match):
        with pytest.raises(UserError, match=match) as error:
            Bert(source, tokenizer)
        assert "\n" not in str(error.value)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("results/bert_mini/1234/bert", "bert: there is no folder results/bert_mini/1234/bert: train")
    refused("bert-base-nowhere", r"bert: bert-base-nowhere cannot be loaded: .*the folder of a copy")
    refused(tmp_path, f"bert: {tmp_path} cannot be loaded")
    config = {"model_type": "gpt2"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, f"bert: {tmp_path} is not BERT-like but of the type gpt2: give a model of")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    refused(tmp_path, r"is not BERT-like: it has no vocab\.txt")
    (tmp_path / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    refused(tmp_path, "cannot be loaded")
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    refused(tmp_path, "cannot be loaded")
    write_bert(tmp_path, tokenizer, num_layers=1)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    refused(tmp_path, r"lacks encoder\.layer\.1\.\S+, .* \(16 in all\)")
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with (tmp_path / "vocab.txt").open("a") as file:
        file.write("山\n")
    refused(tmp_path, "has 15 embeddings, its vocab.txt 16 pieces")
