"""From manifests to batches: the pipeline that every recipe shares."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes
from speechbrain.utils.data_utils import batch_pad_right

from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.data.sampler import LengthBatchSampler


def make_dataset(
    manifests: Sequence[str | Path], tokenizer: Pieces, sample_rate: int = 16000
) -> DynamicItemDataset:
    """Make the dataset of one or several manifests.

    Arguments
    ---------
    manifests : sequence of (str or Path)
        Of :meth:`speechbrain_recursive.data.corpus.Corpus.prepare`. Where a row has ``start``,
        ``stop`` or ``channel``, only that segment and channel of its file is read.
    tokenizer : CharacterTokenizer or SentencePieceTokenizer
        For the transcripts.
    sample_rate : int
        Sample rate of the signals, in Hz.

    Returns
    -------
    DynamicItemDataset
        Each item has ``id``; ``sig`` [time] at ``sample_rate``; ``wrd``, the text; ``tokens`` [n];
        ``tokens_bos`` and ``tokens_eos`` [n + 1], unless the tokenizer is for CTC alone; and
        ``unreadable``: if true, ``sig`` is silence in place of audio that cannot be read, and
        evaluation has to use an empty hypothesis.

    Raises
    ------
    UserError
        If a manifest is malformed, or (when an item is read) if its audio cannot be decoded.
    """

    @takes("wav", "duration", "unreadable", "start", "stop", "channel")
    @provides("sig")
    def audio(wav, duration, unreadable, start, stop, channel):
        if unreadable:
            return torch.zeros(round(duration * sample_rate))
        return read_audio(wav, sample_rate, start, stop, channel)

    rows = _rows(manifests)
    for row in rows.values():
        row["unreadable"] = bool(row["unreadable"])
    text, names = _text(tokenizer)
    keys = ["id", "sig", "wrd", *names, "unreadable"]
    return DynamicItemDataset(rows, dynamic_items=[audio, text], output_keys=keys)


def make_text_dataset(manifests: Sequence[str | Path], tokenizer: Pieces) -> DynamicItemDataset:
    """Make the dataset of the manifests' transcripts, without audio, for a language model.

    Arguments
    ---------
    manifests, tokenizer
        As in :func:`make_dataset`; the tokenizer has <bos> and <eos>.

    Returns
    -------
    DynamicItemDataset
        Each item has ``id``, ``wrd``, ``tokens``, ``tokens_bos`` and ``tokens_eos``. Its length, by
        which loaders limit their batches, is its number of tokens with <eos> in place of its seconds.
    """
    rows = _rows(manifests)
    for row in rows.values():
        row["duration"] = len(tokenizer.encode(row["wrd"])) + 1
    text, names = _text(tokenizer)
    return DynamicItemDataset(rows, dynamic_items=[text], output_keys=["id", "wrd", *names])


def _rows(manifests):
    return {name: row for manifest in manifests for name, row in read_manifest(manifest).items()}


def _text(tokenizer):
    """The pipeline from ``wrd`` to token tensors, and their names."""
    names = ["tokens"] if tokenizer.bos is None else ["tokens", "tokens_bos", "tokens_eos"]

    @takes("wrd")
    @provides(*names)
    def text(wrd):
        ids = tokenizer.encode(wrd)
        yield torch.tensor(ids, dtype=torch.long)
        if tokenizer.bos is not None:
            yield torch.tensor([tokenizer.bos, *ids])
            yield torch.tensor([*ids, tokenizer.eos])

    return text, names


def train_loader(
    dataset: DynamicItemDataset,
    max_batch_seconds: float,
    seed: int,
    max_examples: int | None = None,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> SaveableDataLoader:
    """Make batches for training, in an order that depends on seed and epoch alone.

    For a new order every epoch, set ``brain.train_sampler = loader.batch_sampler``. For a run
    that resumes in the middle of an epoch with exactly the batches that remain, add the loader
    to the checkpointer as well. The loader draws nothing from torch's global generator.

    Arguments
    ---------
    dataset : DynamicItemDataset
        From :func:`make_dataset`.
    max_batch_seconds : float
        Limit on the padded duration of a batch, in seconds.
    seed : int
        Seed of the order.
    max_examples : int or None
        Limit on the batch size.
    num_workers : int
        Processes that read ahead.
    rank, world_size : int
        Which of how many training processes this is.

    Returns
    -------
    SaveableDataLoader
        Yields ``PaddedBatch`` of the dataset's items.
    """
    order = {"seed": seed, "rank": rank, "world_size": world_size}
    return _loader(dataset, num_workers, max_batch_seconds, max_examples=max_examples, **order)


def eval_loader(
    dataset: DynamicItemDataset, max_batch_seconds: float = 60.0, num_workers: int = 0
) -> SaveableDataLoader:
    """Make batches for evaluation: every item once, the longest first.

    Arguments
    ---------
    dataset, max_batch_seconds, num_workers
        As in :func:`train_loader`.

    Returns
    -------
    SaveableDataLoader
    """
    return _loader(dataset, num_workers, max_batch_seconds, shuffle=False)


def _pad(tensors, **options):
    """Pad as SpeechBrain does; where all are empty, which it cannot divide by, to one element."""
    if any(map(len, tensors)):
        return batch_pad_right(tensors, **options)
    return torch.zeros(len(tensors), 1, dtype=tensors[0].dtype), torch.zeros(len(tensors))


def _loader(dataset, num_workers, max_seconds, **order):
    durations = [dataset.data[name]["duration"] for name in dataset.data_ids]
    return SaveableDataLoader(
        dataset,
        batch_sampler=LengthBatchSampler(durations, max_seconds, **order),
        collate_fn=partial(PaddedBatch, padding_func=_pad),
        num_workers=num_workers,
        generator=torch.Generator(),
    )
