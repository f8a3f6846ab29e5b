from itertools import chain

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_recursive.data.dataset import eval_loader, make_dataset, train_loader
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.data.manifest import read_manifest, write_manifest
from speechbrain_recursive.data.tokenizers import CharacterTokenizer
from speechbrain_recursive.objectives.lengths import token_counts

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"


@pytest.fixture(scope="module")
def manifests(corpus, tmp_path_factory):
    splits = ["train-clean-100"], ["dev-clean"], ["test-clean"]
    return LibriSpeech(*splits).prepare(corpus, tmp_path_factory.mktemp("manifests"))


@pytest.fixture
def dataset(manifests):
    return make_dataset([manifests["train-clean-100"]], CharacterTokenizer(ALPHABET))


def ids(loader):
    return [batch.id for batch in loader]


def epoch(loader, number):
    loader.batch_sampler.set_epoch(number)
    return ids(loader)


def test_items_are_audio_and_tokens(dataset, manifests):
    tokenizer = CharacterTokenizer(ALPHABET)
    rows = read_manifest(manifests["train-clean-100"])
    assert len(dataset) == len(rows) == 8
    for item in dataset:
        row = rows[item["id"]]
        samples, _ = soundfile.read(row["wav"], dtype="float32")
        np.testing.assert_array_equal(item["sig"], samples)
        assert item["wrd"] == row["wrd"]
        assert item["unreadable"] is False
        assert tokenizer.decode(item["tokens"]) == row["wrd"]
        assert item["tokens_bos"].tolist() == [1, *item["tokens"].tolist()]
        assert item["tokens_eos"].tolist() == [*item["tokens"].tolist(), 2]


def test_ctc_alone_has_no_bos_and_eos(manifests):
    dataset = make_dataset([manifests["dev-clean"]], CharacterTokenizer(ALPHABET, seq2seq=False))
    assert dataset[0].keys() == {"id", "sig", "wrd", "tokens", "unreadable"}


def test_odd_text_and_unreadable_audio(tmp_path):
    row = {"ID": "a", "duration": 0.5, "wav": "gone.flac", "spk_id": "s"}
    write_manifest(tmp_path / "m.csv", [row | {"wrd": "$FIVE, DOLLARS", "unreadable": "corrupt"}])
    (batch,) = eval_loader(make_dataset([tmp_path / "m.csv"], CharacterTokenizer(ALPHABET)))
    assert batch.wrd == ["$FIVE, DOLLARS"]
    assert batch.unreadable.tolist() == [True]
    assert batch.sig.data.shape == (1, 8000)
    assert not batch.sig.data.any()


def test_empty_transcript_makes_no_tokens(tmp_path, manifests):
    row = next(iter(read_manifest(manifests["dev-clean"]).values()))
    write_manifest(tmp_path / "m.csv", [row | {"ID": "a", "wrd": ""}])
    item = make_dataset([tmp_path / "m.csv"], CharacterTokenizer(ALPHABET))[0]
    assert item["tokens"].shape == (0,)
    assert item["tokens"].dtype == item["tokens_bos"].dtype == torch.int64


def test_evaluation_sees_every_item_once(dataset):
    seen = [*chain(*ids(eval_loader(dataset, max_batch_seconds=6)))]
    assert sorted(seen) == sorted(dataset.data_ids)
    assert len(seen) == 8


def test_epochs_differ_and_repeat(dataset):
    loader, again = (train_loader(dataset, 6, seed=3) for _ in range(2))
    first = epoch(loader, 1)
    assert len(first) > 2
    assert sorted(chain(*first)) == sorted(dataset.data_ids)
    assert len({str(epoch(loader, number)) for number in range(1, 6)}) == 5
    assert epoch(loader, 1) == epoch(again, 1) == first


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_resumed_epoch_has_exactly_the_batches_that_are_left(dataset, tmp_path, num_workers):
    whole = epoch(train_loader(dataset, 6, seed=3), 4)
    loader = train_loader(dataset, 6, seed=3, num_workers=num_workers)
    loader.batch_sampler.set_epoch(4)
    iterator = iter(loader)
    started = [next(iterator).id for _ in range(2)]
    Checkpointer(tmp_path, {"loader": loader}).save_checkpoint(end_of_epoch=False)

    resumed = train_loader(dataset, 6, seed=3, num_workers=num_workers)
    Checkpointer(tmp_path, {"loader": resumed}).recover_if_possible()
    assert started + epoch(resumed, 4) == whole
    assert epoch(resumed, 5) == epoch(train_loader(dataset, 6, seed=3), 5)


def test_the_global_generator_is_left_alone(dataset):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    ids(train_loader(dataset, 6, seed=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_ranks_train_on_different_batches(dataset):
    shares = [epoch(train_loader(dataset, 3, 1, rank=rank, world_size=2), 1) for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1])
    assert {*chain(*shares[0], *shares[1])} == {*dataset.data_ids}


def test_a_batch_may_be_limited_by_its_number_of_utterances_too(dataset):
    loader = train_loader(dataset, max_batch_seconds=1000, seed=1, max_examples=3)
    assert sorted(len(names) for names in epoch(loader, 1)) == [2, 3, 3]
    assert len(epoch(train_loader(dataset, max_batch_seconds=1000, seed=1), 1)) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_of_empty_transcripts(tmp_path, manifests, count):
    row = next(iter(read_manifest(manifests["dev-clean"]).values()))
    rows = [row | {"ID": str(i), "wrd": ""} for i in range(count)]
    write_manifest(tmp_path / "m.csv", rows)
    (batch,) = eval_loader(make_dataset([tmp_path / "m.csv"], CharacterTokenizer(ALPHABET)))
    assert batch.tokens.data.tolist() == [[0]] * count
    assert batch.tokens.data.dtype == torch.int64
    assert token_counts(batch.tokens).tolist() == [0] * count
    assert token_counts(batch.tokens_eos).tolist() == [1] * count
