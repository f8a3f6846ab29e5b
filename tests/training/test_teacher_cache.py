"""The cache holds what the teacher gives, survives a kill, and is refused where it does not belong."""

import json
import multiprocessing
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.bert import Bert
from speechbrain_recursive.training import teacher_cache
from speechbrain_recursive.training.bert_teacher import BertTeacher
from speechbrain_recursive.training.teacher_cache import TeacherCache, fill

CHARACTERS = "一三上下不世中主久之"
TEXTS = {f"u{i}": CHARACTERS[: 1 + i % 7] + CHARACTERS[i % 10] for i in range(23)}


@pytest.fixture(scope="module")
def tokenizer():
    return CharacterTokenizer(CHARACTERS, boundary=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, write_bert):
    return write_bert(tmp_path_factory.mktemp("bert"), tokenizer)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(teacher_cache, "BATCH", 4)
    monkeypatch.setattr(teacher_cache, "SAVE_EVERY", 2)


def batch_of(tokenizer, uids):
    rows = [[*tokenizer.encode(TEXTS[uid]), tokenizer.eos] for uid in uids]
    width = max(map(len, rows))
    data = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    lengths = torch.tensor([len(row) / width for row in rows])
    return SimpleNamespace(id=uids, tokens_eos=PaddedData(data, lengths))


def answers(teacher, tokenizer, uids, transcripts=TEXTS):
    teacher.setup(tokenizer, "cpu")
    teacher.expect(transcripts)
    return teacher(None, None, None, batch_of(tokenizer, uids), None)


def test_cached_states_are_those_of_the_teacher(folder, tokenizer, tmp_path):
    assert fill(tmp_path / "cache", Bert(folder, tokenizer), tokenizer, TEXTS) == 23
    uids = ["u3", "u13", "u0"]
    cached = answers(BertTeacher(folder, tmp_path / "cache"), tokenizer, uids)
    live = answers(BertTeacher(folder), tokenizer, uids)
    assert cached.dtype == torch.float32
    for uid, theirs, ours in zip(uids, live, cached, strict=True):
        length = len(TEXTS[uid]) + 1
        torch.testing.assert_close(ours[:length], theirs[:length], atol=2e-3, rtol=2e-3)
        assert not ours[length:].any()


class Killed:
    """A BERT whose process is killed while it computes a batch."""

    def __init__(self, bert, batch):
        self._bert, self._left = bert, batch

    def __getattr__(self, name):
        return getattr(self._bert, name)

    def __call__(self, tokens_eos):
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._bert(tokens_eos)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(folder, tokenizer, tmp_path):
    bert = Bert(folder, tokenizer)
    fill(tmp_path / "whole", bert, tokenizer, TEXTS)
    arguments = tmp_path / "cache", Killed(bert, batch=4), tokenizer, TEXTS
    process = multiprocessing.get_context("fork").Process(target=fill, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL  # of three batches that were written, two are recorded
    with pytest.raises(UserError, match=r"has 8 of 23 utterances: run .*cache-teacher .* to go on"):
        TeacherCache(tmp_path / "cache")
    assert fill(tmp_path / "cache", bert, tokenizer, TEXTS) == 15
    names = ["cache.json", "done.json", "states.f16"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == names
    for name in names:
        assert (tmp_path / "cache" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert fill(tmp_path / "cache", bert, tokenizer, TEXTS) == 0


def test_a_cache_of_something_else_is_refused_in_one_line(folder, tokenizer, tmp_path, write_bert):
    cache, bert = tmp_path / "cache", Bert(folder, tokenizer)
    teacher = BertTeacher(folder, cache)

    def refused(match, action, *arguments):
        with pytest.raises(UserError, match=match) as error:
            action(*arguments)
        assert "\n" not in str(error.value)

    refused(f"no cache at {cache}: run .* cache-teacher", teacher.setup, tokenizer, "cpu")
    fill(cache, bert, tokenizer, TEXTS)
    others = TEXTS | {"u5": "三三"}
    refused("of another teacher or of other transcripts", fill, cache, bert, tokenizer, others)
    teacher.setup(tokenizer, "cpu")
    refused("was made from another transcript of utterance u5", teacher.expect, others)
    refused("has no utterance new", teacher.expect, {"new": "三"})
    teacher.expect({"u5": TEXTS["u5"]})
    other = Bert(folder, tokenizer)
    with torch.no_grad():
        next(other.model.parameters())[0, 0] += 1
    refused("of another teacher or of other transcripts", fill, cache, other, tokenizer, TEXTS)
    retrained = write_bert(tmp_path, tokenizer, num_layers=1)
    refused("made from another teacher", BertTeacher(retrained, cache).setup, tokenizer, "cpu")
    more = CharacterTokenizer([*CHARACTERS, "山"], boundary=False)
    refused("made from another teacher or for other tokens", teacher.setup, more, "cpu")
    (cache / "cache.json").write_text("{")
    refused(r"cache\.json is damaged", teacher.setup, tokenizer, "cpu")
    assert json.loads((cache / "done.json").read_text()) == 23
