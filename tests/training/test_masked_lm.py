"""Masking as in BERT's pre-training; a small BERT learns a text and is read by transformers."""

from types import SimpleNamespace

import pytest
import torch
import transformers

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.bert import MARKS, masked_lm
from speechbrain_recursive.objectives.masked_lm import MaskedLM
from speechbrain_recursive.training.masked_language_model import MASK, NO_LABEL, MaskedLanguageModeling

CLS, SEP = MARKS.index("[CLS]"), MARKS.index("[SEP]")


@pytest.fixture
def task(tmp_path):
    tokenizer = CharacterTokenizer("一三上下不世中主久之", boundary=False)
    torch.manual_seed(0)
    model = masked_lm(len(tokenizer), 16, 2, 32, 1, dropout=0.0, initializer_range=0.25)
    hparams = SimpleNamespace(model=model, output_folder=tmp_path)
    task = MaskedLanguageModeling()
    task.setup(SimpleNamespace(tokenizer=tokenizer, hparams=hparams, device="cpu"))
    return task


def test_masks(task):
    ids = torch.full((400, 52), 7)
    ids[:, 0], ids[:, 51] = CLS, SEP
    real = torch.ones_like(ids, dtype=torch.bool)
    ids[0, 2:], real[0, 3:] = SEP, False  # one token
    torch.manual_seed(0)
    inputs, labels = task.mask(ids, real)
    drawn = labels != NO_LABEL
    assert (labels[drawn] == 7).all()
    assert drawn[0].tolist() == [False, True, *[False] * 50], "one token at least, and no mark"
    assert not drawn[:, 0].any()
    assert not drawn[1:, 51].any()
    assert inputs[~drawn].equal(ids[~drawn])
    rate, seen = drawn[1:, 1:51].float().mean(), inputs[drawn]
    assert float(rate) == pytest.approx(0.15, abs=0.01)
    assert float((seen == MASK).float().mean()) == pytest.approx(0.8, abs=0.03)
    other = seen[(seen != MASK) & (seen != 7)]
    assert len(other) / len(seen) == pytest.approx(0.1 * 9 / 10, abs=0.02)
    assert other.min() >= len(MARKS)

    found = [task.mask(ids, real, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert found[0][0].equal(found[1][0])
    assert (found[0][0][found[0][1] != NO_LABEL] == MASK).all(), "evaluation masks all that is drawn"


def test_the_loss_is_that_of_transformers_and_the_counts_agree(task):
    ids = torch.tensor([[CLS, 5, 6, 7, SEP], [CLS, 8, 9, SEP, 0]])
    labels = torch.full_like(ids, NO_LABEL)
    labels[0, 2], labels[1, 1] = 6, 8
    real = torch.tensor([[True] * 5, [True] * 4 + [False]])
    found = task.model.eval()(input_ids=ids, attention_mask=real.long(), labels=labels)
    outputs = SimpleNamespace(loss=found.loss, logits=found.logits, labels=labels)
    scores = found.logits.log_softmax(-1)
    expected = -(scores[0, 2, 6] + scores[1, 1, 8]) / 2
    torch.testing.assert_close(MaskedLM()(outputs, None)["mlm"], expected)
    task.reset()
    task.observe(outputs, None)
    task.observe(outputs, None)
    figures = task.figures()
    assert figures["perplexity"] == pytest.approx(float(expected.exp()), rel=1e-5)
    right = (found.logits[0, 2].argmax() == 6).float() + (found.logits[1, 1].argmax() == 8).float()
    assert figures["masked_accuracy"] == pytest.approx(50 * float(right))


def test_its_folder_is_what_transformers_reads(task, tmp_path):
    for _ in range(2):  # the second time it replaces the first
        folder = task._publish(tmp_path / "bert")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    for name, value in task.model.state_dict().items():
        assert theirs.state_dict()[name].equal(value), name
    read = transformers.BertTokenizer(str(folder / "vocab.txt"))
    assert read("一三")["input_ids"] == [CLS, 5, 6, SEP]


def test_tokens_that_bert_cannot_read():
    brain = SimpleNamespace(tokenizer=CharacterTokenizer("AB"), hparams=SimpleNamespace(model=None))
    with pytest.raises(UserError, match="set token_type to wordpiece, or to char for Chinese"):
        MaskedLanguageModeling().setup(brain)
