"""Filling the cache of a recipe's BERT before its training."""

from pathlib import Path
from typing import Any

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load
from speechbrain_recursive.nn.bert import Bert
from speechbrain_recursive.training.bert_teacher import BertTeacher
from speechbrain_recursive.training.run import build_tokenizer, prepare_manifests
from speechbrain_recursive.training.teacher_cache import fill
from speechbrain_recursive.training.teachers import transcripts_of


def cache_teacher(path: str | Path, overrides: Any, device: str = "cpu") -> tuple[Path, int]:
    """Fill the cache of a recipe's BERT, or go on with it.

    Arguments
    ---------
    path : str or pathlib.Path
        The recipe's YAML. Its manifests and its tokenizer are made as for a training, if they are not
        there.
    overrides : str, list of str or dict
        See :func:`speechbrain_recursive.hparams.load`.
    device : str
        Where BERT runs.

    Returns
    -------
    pathlib.Path
        The cache.
    int
        How many utterances were added.

    Raises
    ------
    UserError
        If the recipe has no BERT or no place for the cache, or the cache is another's.
    """
    hparams, _ = load(path, overrides)
    teachers = [each for each in hparams.get("teachers", {}).values() if isinstance(each, BertTeacher)]
    if not teachers:
        raise UserError(f"{path} has no BERT under teachers:")
    (teacher,) = teachers
    if teacher.cache is None:
        raise UserError(f"{path} says no place for the cache: give a folder with --teacher_cache")
    manifests, corpus = prepare_manifests(hparams), hparams["corpus"]
    tokenizer = build_tokenizer(hparams, [manifests[split] for split in corpus.train_splits])
    bert = Bert(teacher.bert, tokenizer, device)
    return Path(teacher.cache), fill(teacher.cache, bert, tokenizer, transcripts_of(manifests, corpus))
