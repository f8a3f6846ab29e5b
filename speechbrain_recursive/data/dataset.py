"""From manifests to batches: the pipeline that every recipe shares."""

import soundfile
import torch
import torchaudio
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes

from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.sampler import LengthBatchSampler
from speechbrain_recursive.errors import UserError


def read_audio(path, sample_rate=16000):
    """Read any file that libsndfile knows, as one channel at one rate.

    Arguments
    ---------
    path : str or Path
        An audio file. Several channels are averaged, other rates resampled.
    sample_rate : int
        Of the result, in Hz.

    Returns
    -------
    torch.Tensor
        Shape [time], float32, within [-1, 1].

    Raises
    ------
    UserError
        If the file cannot be decoded.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} cannot be read as audio: {error}") from None
    signal = torch.from_numpy(samples).mean(dim=1)
    if rate != sample_rate:
        signal = torchaudio.functional.resample(signal, rate, sample_rate)
    return signal


def make_dataset(manifests, tokenizer, sample_rate=16000):
    """The dataset of one or several manifests.

    Arguments
    ---------
    manifests : sequence of (str or Path)
        What a prepare function wrote.
    tokenizer : CharacterTokenizer or SentencePieceTokenizer
        For the transcripts.
    sample_rate : int
        Of the signals, in Hz.

    Returns
    -------
    DynamicItemDataset
        Each item has ``id``; ``sig`` [time] at ``sample_rate``; ``wrd``, the text; ``tokens`` [n];
        ``tokens_bos`` and ``tokens_eos`` [n + 1], unless the tokenizer is for CTC alone; and
        ``unreadable``: if true, ``sig`` is silence that stands for audio that cannot be read, and
        evaluation has to take an empty hypothesis.

    Raises
    ------
    UserError
        If a manifest is not one, or (when an item is read) if its audio cannot be decoded.
    """

    @takes("wav", "duration", "unreadable")
    @provides("sig")
    def audio(wav, duration, unreadable):
        if unreadable:
            return torch.zeros(round(duration * sample_rate))
        return read_audio(wav, sample_rate)

    rows = _rows(manifests)
    for row in rows.values():
        row["unreadable"] = bool(row["unreadable"])
    text, names = _text(tokenizer)
    keys = ["id", "sig", "wrd", *names, "unreadable"]
    return DynamicItemDataset(rows, dynamic_items=[audio, text], output_keys=keys)


def make_text_dataset(manifests, tokenizer):
    """The transcripts of manifests, without their audio, for a language model.

    Arguments
    ---------
    manifests, tokenizer
        As in :func:`make_dataset`; the tokenizer has <bos> and <eos>.

    Returns
    -------
    DynamicItemDataset
        Each item has ``id``, ``wrd``, ``tokens``, ``tokens_bos`` and ``tokens_eos``. Its length, by
        which loaders limit their batches, is its number of tokens with <eos>, not its seconds.
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
    dataset, max_batch_seconds, seed, max_examples=None, num_workers=0, rank=0, world_size=1
):
    """Batches for training, in an order that depends on seed and epoch alone.

    For a new order every epoch, set ``brain.train_sampler = loader.batch_sampler``. For a run
    that goes on in the middle of an epoch with exactly the batches that are left, add the loader
    to the checkpointer as well. The loader draws nothing from torch's global generator.

    Arguments
    ---------
    dataset : DynamicItemDataset
        From :func:`make_dataset`.
    max_batch_seconds : float
        Limit on the padded duration of a batch, in seconds.
    seed : int
        Of the order.
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
    sampler = LengthBatchSampler(
        _durations(dataset),
        max_batch_seconds,
        seed=seed,
        max_examples=max_examples,
        rank=rank,
        world_size=world_size,
    )
    return _loader(dataset, sampler, num_workers)


def eval_loader(dataset, max_batch_seconds=60.0, num_workers=0):
    """Batches for evaluation: every item once, the longest first.

    Arguments
    ---------
    dataset, max_batch_seconds, num_workers
        As in :func:`train_loader`.

    Returns
    -------
    SaveableDataLoader
    """
    sampler = LengthBatchSampler(_durations(dataset), max_batch_seconds, shuffle=False)
    return _loader(dataset, sampler, num_workers)


def _durations(dataset):
    return [dataset.data[name]["duration"] for name in dataset.data_ids]


def _loader(dataset, sampler, num_workers):
    return SaveableDataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=PaddedBatch,
        num_workers=num_workers,
        generator=torch.Generator(),
    )
