"""A teacher's states of tokens in a file, memory-mapped, that can be made in several goes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole
from speechbrain_recursive.nn.bert import Bert

BATCH = 64  # utterances
SAVE_EVERY = 20  # batches


class TeacherCache:
    """States [I, D] of the tokens of utterances, by their IDs, in half precision.

    The folder holds ``cache.json``, which says what the states are of; ``done.json``, how many of the
    utterances have theirs; and ``states.f16``, the states, longest utterances first.

    Arguments
    ---------
    folder : str or pathlib.Path
        What :func:`fill` wrote.

    Raises
    ------
    UserError
        If there is no cache, or not all of it.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        again = f"run speechbrain-recursive cache-teacher with --teacher_cache {folder}"
        self._about = _read(self.folder / "cache.json", f"teacher_cache: no cache at {folder}: {again}")
        self._places, total = _places(self._about["utterances"])
        done = _done(self.folder)
        if done < len(self._places):
            raise UserError(
                f"teacher_cache: {folder} has {done} of {len(self._places)} utterances: {again} to go on"
            )
        self._states = _open(self.folder, total, self._about["width"], "r")

    def check(self, teacher: str) -> None:
        """Refuse another teacher, by its digest (UserError)."""
        if self._about["teacher"] != teacher:
            raise UserError(
                f"teacher_cache: {self.folder} was made from another teacher or for other tokens: give "
                "the one of the cache, or another --teacher_cache"
            )

    def expect(self, transcripts: Mapping[str, str]) -> None:
        """Refuse transcripts that the states are not of, by ID (UserError)."""
        known = self._about["utterances"]
        for uid, text in transcripts.items():
            if uid not in known or known[uid][1] != _digest(text):
                what = "has no" if uid not in known else "was made from another transcript of"
                raise UserError(
                    f"teacher_cache: {self.folder} {what} utterance {uid}: fill another --teacher_cache "
                    "from the transcripts of this run"
                )

    def __call__(self, ids: Sequence[str]) -> torch.Tensor:
        """States of a batch [B, I, D], float32, zero-padded."""
        rows = [self._states[slice(*self._places[uid])] for uid in ids]
        found = torch.zeros(len(rows), max(map(len, rows)), self._about["width"])
        for state, row in zip(found, rows, strict=True):
            state[: len(row)] = torch.from_numpy(row.astype(np.float32))
        return found


def fill(folder: str | Path, bert: Bert, tokenizer: Any, transcripts: Mapping[str, str]) -> int:
    """Write a cache, or go on with it where a run was killed; ends with the same bytes either way.

    Arguments
    ---------
    folder : str or pathlib.Path
        Where it goes.
    bert : Bert
        The teacher.
    tokenizer : object
        Of the recipe.
    transcripts : mapping of str to str
        By ID.

    Returns
    -------
    int
        How many utterances this call added.

    Raises
    ------
    UserError
        If the folder holds the states of another teacher or of other transcripts.
    """
    folder = Path(folder)
    tokens = {uid: [*tokenizer.encode(text), tokenizer.eos] for uid, text in transcripts.items()}
    order = sorted(tokens, key=lambda uid: (-len(tokens[uid]), uid))
    utterances = {uid: [len(tokens[uid]), _digest(transcripts[uid])] for uid in order}
    about = {"teacher": bert.digest(), "width": bert.width, "utterances": utterances}
    places, total = _places(utterances)
    if (folder / "cache.json").exists():
        if _read(folder / "cache.json") != about:
            raise UserError(
                f"teacher_cache: {folder} is of another teacher or of other transcripts: remove it, or "
                "give another --teacher_cache"
            )
        done = _done(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _open(folder, total, bert.width, "w+")
        write_whole(folder / "cache.json", json.dumps(about, ensure_ascii=False))
        done = 0
    states = _open(folder, total, bert.width, "r+")
    starts = range(done, len(order), BATCH)
    for count, start in enumerate(Bar(starts, f"States of {bert.source}"), start=1):
        batch = order[start : start + BATCH]
        for uid, row in zip(batch, bert(_padded([tokens[uid] for uid in batch], bert)), strict=True):
            first, last = places[uid]
            states[first:last] = row[: last - first].half().cpu().numpy()
        if count % SAVE_EVERY == 0 or start == starts[-1]:
            states.flush()
            write_whole(folder / "done.json", json.dumps(start + len(batch)))
    return len(order) - done


def _padded(rows, bert):
    width = max(map(len, rows))
    data = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    lengths = torch.tensor([len(row) / width for row in rows])
    device = next(bert.model.parameters()).device
    return PaddedData(data.to(device), lengths.to(device))


def _places(utterances):
    """From ID to the first row and the one behind the last, and the number of rows."""
    places, end = {}, 0
    for uid, (rows, _) in utterances.items():
        places[uid] = end, end + rows
        end += rows
    return places, end


def _open(folder, rows, width, mode):
    return np.memmap(folder / "states.f16", np.float16, mode, shape=(rows, width))


def _done(folder):
    return _read(folder / "done.json") if (folder / "done.json").exists() else 0


def _read(path, missing=None):
    text = read_text(path, missing)
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(f"teacher_cache: {path} is damaged: remove its folder") from None


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]
