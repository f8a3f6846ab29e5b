"""Every decoder is counted at every loop count, on a model whose answers are known."""

import time
from types import SimpleNamespace

import pytest
import torch

from speechbrain_recursive.data.tokenizers import CharacterTokenizer
from speechbrain_recursive.nn.loops import Fixed, Proportional
from speechbrain_recursive.training.evaluation import evaluate

TOKENIZER = CharacterTokenizer("ABC", seq2seq=False)
TEXTS = {
    1: "A B C C",
    2: "A B C A",
    3: "A B A A",
}  # what the model hears at so many loops; A B A A is right


class Model(torch.nn.Module):
    """Hears TEXTS in every utterance, and notes the loop counts that it was asked for."""

    sample_rate = 100

    def __init__(self):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))
        self.asked = []

    def at(self, loops):
        return str(loops)

    def forward(self, wavs, wav_lens, loops, dynchunktrain_config):
        assert not torch.is_grad_enabled()
        self.asked.append(loops)
        counts = loops if torch.is_tensor(loops) else [loops] * len(wavs)
        counts = [max(count.values()) if isinstance(count, dict) else int(count) for count in counts]
        log_probs = torch.full((len(wavs), 40, len(TOKENIZER)), -9.0)
        log_probs[:, :, TOKENIZER.blank] = -1.0
        for row, count in enumerate(counts):
            for i, token in enumerate(TOKENIZER.encode(TEXTS[count])):
                log_probs[row, 2 * i, token] = 0.0
        return SimpleNamespace(
            log_probs=log_probs, frames=torch.full((len(wavs),), 40), encoded=log_probs
        )


def batch(*names, unreadable=()):
    wavs = torch.zeros(len(names), 1000)
    return SimpleNamespace(
        id=list(names),
        sig=(wavs, torch.linspace(0.5, 1.0, len(names))),
        wrd=["A B A A"] * len(names),
        unreadable=torch.tensor([name in unreadable for name in names]),
    )


@pytest.fixture
def loaders():
    return {"dev": [batch("a", "b"), batch("c")], "test": [batch("d", "e")]}


def rates(found, decoder="greedy", split="dev"):
    rows = [row for row in found.rows if row["decoder"] == decoder and row["split"] == split]
    return {str(row["loops"]): row["wer"] for row in rows}


def test_every_split_and_loop_count_is_counted(loaders):
    found = evaluate(Model(), loaders, TOKENIZER, [1, 2, 3], Fixed(3), progressbar=False)
    for split in ("dev", "test"):
        assert rates(found, split=split) == {"1": 50.0, "2": 25.0, "3": 0.0}
    heard = {(row["split"], row["loops"], row["id"]): row["hypothesis"] for row in found.hypotheses}
    assert heard["dev", 2, "c"] == "A B C A"
    assert len(heard) == len(found.hypotheses) == 3 * 5


def test_the_trained_count_is_marked_and_added_where_it_was_left_out(loaders):
    found = evaluate(Model(), loaders, TOKENIZER, [1], Fixed(2), progressbar=False)
    marks = {(row["loops"], row["trained"], row["supervised"]) for row in found.rows}
    assert marks == {(1, False, False), (2, True, True)}
    assert found.worst.keys() == {"dev", "test"}
    assert {worst["key"] for worst in found.worst["dev"]} == {"a", "b", "c"}


def test_the_joint_search_runs_at_the_trained_count_alone(loaders):
    def ngram(log_probs, frames):
        return [TOKENIZER.encode("A B A A")] * len(frames)

    def joint(encoded, frames):
        return [TOKENIZER.encode("A")] * len(frames)

    found = evaluate(Model(), loaders, TOKENIZER, [1, 2], Fixed(2), ngram, joint, progressbar=False)
    assert rates(found, "ngram") == {"1": 0.0, "2": 0.0}
    assert rates(found, "joint") == {"2": 75.0}
    assert [row["decoder"] for row in found.rows if row["split"] == "dev"] == [
        *("greedy", "ngram"),
        *("greedy", "ngram", "joint"),
    ]


def test_audio_that_cannot_be_read_counts_as_deletions():
    loaders = {"dev": [batch("a", "b", unreadable=("b",))]}
    found = evaluate(Model(), loaders, TOKENIZER, [3], Fixed(3), progressbar=False)
    assert rates(found) == {"3": 50.0}
    assert [row["hypothesis"] for row in found.hypotheses] == ["A B A A", ""]


def test_counts_by_block(loaders):
    model, policy = Model(), Fixed(2)
    evaluate(model, loaders, TOKENIZER, [{"low": 1, "high": 3}, 2], policy, progressbar=False)
    assert model.asked[:2] == [{"low": 1, "high": 3}] * 2


def test_counts_by_utterance(loaders):
    model = Model()
    found = evaluate(
        model, loaders, TOKENIZER, [1], Proportional(2, max_seconds=10.0), progressbar=False
    )
    # rows of 5 and 10 s, then one of 5 s
    assert [asked.tolist() for asked in model.asked if torch.is_tensor(asked)][:2] == [[1, 2], [1]]
    assert rates(found)["2"] == pytest.approx(100 * 5 / 12)


def test_the_time_factor_is_of_forward_pass_and_decoder(loaders):
    model = Model()
    forward = model.forward

    def slow(*args, **options):
        time.sleep(0.05)
        return forward(*args, **options)

    def ngram(log_probs, frames):
        time.sleep(0.1)
        return [[]] * len(frames)

    model.forward = slow
    found = evaluate(
        model, {"test": loaders["test"]}, TOKENIZER, [1], Fixed(1), ngram, progressbar=False
    )
    rtf = {row["decoder"]: row["rtf"] for row in found.rows}
    assert rtf["greedy"] >= 0.05 / 15  # 15 s of audio in the batch
    assert rtf["ngram"] >= 0.15 / 15
    assert rtf["ngram"] - rtf["greedy"] >= 0.09 / 15
