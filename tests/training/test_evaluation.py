"""Every decoder is counted at every loop count, on a model whose answers are known."""

import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from speechbrain_recursive.analysis.wer import Scored, error_rate
from speechbrain_recursive.data.tokenizers import CharacterTokenizer
from speechbrain_recursive.decoding.decoder import Decoder
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.loops import LoopPolicy, Proportional
from speechbrain_recursive.nn.schedule import bicycle, cycle
from speechbrain_recursive.training.evaluation import Point, durations, evaluate

TOKENIZER = CharacterTokenizer("ABC", seq2seq=False)
TEXTS = {1: "A B C C", 2: "A B C A", 3: "A B A A"}  # by loop count; A B A A is right


class Model(torch.nn.Module):
    """Recognizes TEXTS in every utterance, and notes the depths that it was asked for."""

    sample_rate = 100

    def __init__(self):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))
        self.asked = []

    def forward(self, wavs, wav_lens, depth, request, dynchunktrain_config):
        assert not torch.is_grad_enabled()
        assert request.heads == {"ctc"}
        self.asked.append(depth)
        counts = depth.by_row("recurrent") or [max(depth.schedule.loops.values())] * len(wavs)
        log_probs = torch.full((len(wavs), 40, len(TOKENIZER)), -9.0)
        log_probs[:, :, TOKENIZER.blank] = -1.0
        for row, count in enumerate(counts):
            for i, token in enumerate(TOKENIZER.encode(TEXTS[count])):
                log_probs[row, 2 * i, token] = 0.0
        frames = torch.full((len(wavs),), 40)
        return SimpleNamespace(heads={"ctc": log_probs}, log_probs=log_probs, frames=frames)


class Search(Decoder):
    trained_only = True


GREEDY = (Decoder(), lambda outputs: greedy(outputs.log_probs, outputs.frames))


def always(text):
    return lambda outputs: [TOKENIZER.encode(text)] * len(outputs.frames)


def triples(batch, decoded):
    heard = [
        "" if bad else TOKENIZER.decode(ids) for ids, bad in zip(decoded, batch.unreadable, strict=True)
    ]
    return [
        (uid, words.split(), text.split())
        for uid, words, text in zip(batch.id, batch.wrd, heard, strict=True)
    ]


def points(trained, *loops, policy=None, schedule=None):
    """Points at loop counts, and the trained one of a policy."""
    schedule = schedule or cycle(1, trained)
    depths = [Depth.of(schedule, count) for count in loops]
    found = {str(depth): Point(depth, lambda _, depth=depth: depth) for depth in depths}
    policy = policy or LoopPolicy()
    trained = Point(Depth(schedule), partial(policy.at_inference, schedule), True, True)
    return found | {policy.label(schedule): trained}


def count(loaders, points, model=None, **more):
    """Evaluate with greedy decoding and more decoders."""
    decoders = {"greedy": GREEDY, **more}
    model = model or Model()
    return evaluate(model, loaders, points, decoders, "greedy", triples)


def evens(lines):
    """Scores every second word alone, and says so."""
    some = [(uid, one[::2], other[::2]) for uid, one, other in lines]
    return Scored(error_rate(some), some, {"kind": "evens"})


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
    return {row["label"]: row["wer"] for row in rows}


def test_every_split_and_depth_is_counted(loaders):
    found = count(loaders, points(3, 1, 2))
    for split in ("dev", "test"):
        assert rates(found, split=split) == {"1": 50.0, "2": 25.0, "3": 0.0}
    heard = {(row["split"], row["label"], row["id"]): row["hypothesis"] for row in found.hypotheses}
    assert heard["dev", "2", "c"] == "A B C A"
    assert len(heard) == len(found.hypotheses) == 3 * 5


def test_subsets_and_scorers_of_a_split(loaders):
    decoders, subset = {"greedy": GREEDY}, lambda split, uid: {"a": "x", "c": "y", "d": "x"}.get(uid)
    more = {"scorers": {"test": evens}, "subset": subset}
    found = evaluate(Model(), loaders, points(2), decoders, "greedy", triples, **more)
    splits = ["dev", "dev_x", "dev_y", "test", "test_x"]
    assert [row["split"] for row in found.rows] == splits
    assert [row["wer"] for row in found.rows] == [25.0, 25.0, 25.0, 50.0, 50.0]
    assert [row.get("kind") for row in found.rows] == [None] * 3 + ["evens"] * 2
    said = {split: [row["id"] for row in found.hypotheses if row["split"] == split] for split in splits}
    assert said == {
        "dev": ["a", "b", "c"],
        "dev_x": ["a"],
        "dev_y": ["c"],
        "test": ["d", "e"],
        "test_x": ["d"],
    }
    assert {row["hypothesis"] for row in found.hypotheses if row["split"] == "test"} == {"A C"}
    assert found.worst.keys() == {*splits}


def test_the_trained_depth_is_marked(loaders):
    found = count(loaders, points(2, 1))
    marks = {(row["loops"], row["trained"], row["supervised"]) for row in found.rows}
    assert marks == {(1, False, False), (2, True, True)}
    assert found.worst.keys() == {"dev", "test"}
    assert {worst["key"] for worst in found.worst["dev"]} == {"a", "b", "c"}


def test_a_search_may_run_at_the_trained_depth_alone(loaders):
    more = {"ngram": (Decoder(), always("A B A A")), "joint": (Search(), always("A"))}
    found = count(loaders, points(2, 1), **more)
    assert rates(found, "ngram") == {"1": 0.0, "2": 0.0}
    assert rates(found, "joint") == {"2": 75.0}
    assert [row["decoder"] for row in found.rows if row["split"] == "dev"] == [
        *("greedy", "ngram"),
        *("greedy", "ngram", "joint"),
    ]


def test_audio_that_cannot_be_read_counts_as_deletions():
    found = count({"dev": [batch("a", "b", unreadable=("b",))]}, points(3))
    assert rates(found) == {"3": 50.0}
    assert [row["hypothesis"] for row in found.hypotheses] == ["A B A A", ""]


def test_counts_by_block(loaders):
    model, schedule = Model(), bicycle(2, 2, 2, 2)
    asked = {"phonetic": 1, "linguistic": 3}
    found = count(loaders, points(None, asked, schedule=schedule), model)
    assert [depth.schedule.loops for depth in model.asked[:2]] == [asked] * 2
    assert {row["depth"] for row in found.rows} == {6}


def test_counts_by_utterance(loaders):
    model = Model()
    found = count(loaders, points(2, 1, policy=Proportional(max_seconds=10.0)), model)
    # rows of 5 and 10 s, then one of 5 s
    assert [depth.by_row("recurrent") or depth.loops for depth in model.asked[2:4]] == [(1, 2), 1]
    assert rates(found)["1-2"] == pytest.approx(100 * 5 / 12)


def test_the_time_factor_is_of_forward_pass_and_decoder(loaders):
    model = Model()
    forward = model.forward

    def slow(*args, **options):
        time.sleep(0.05)
        return forward(*args, **options)

    def ngram(outputs):
        time.sleep(0.1)
        return [[]] * len(outputs.frames)

    model.forward = slow
    found = count({"test": loaders["test"]}, points(1), model, ngram=(Decoder(), ngram))
    rtf = {row["decoder"]: row["rtf"] for row in found.rows}
    assert rtf["greedy"] >= 0.05 / 15  # 15 s of audio in the batch
    assert rtf["ngram"] >= 0.15 / 15
    assert rtf["ngram"] - rtf["greedy"] >= 0.09 / 15


def test_whole_seconds_make_the_same_loops_in_a_batch_as_alone():
    rate, policy, schedule = 16000, Proportional(max_seconds=20.0), cycle(1, 20)
    for longest in range(2, 26):
        seconds = [*range(1, longest), longest]
        wav_lens = torch.tensor([n * rate / (longest * rate) for n in seconds])
        wavs = torch.empty(len(seconds), longest * rate, device="meta")
        together = policy.at_inference(schedule, durations((wavs, wav_lens), rate))
        assert together.by_row("recurrent") == tuple(min(n, 20) for n in seconds)
        for n in seconds:
            alone = torch.empty(1, n * rate, device="meta"), torch.ones(1)
            assert durations(alone, rate) == [n]
