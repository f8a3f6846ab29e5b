"""Checkpoints that are whole or absent, in SpeechBrain's own format.

A checkpoint is written under a name that no lister takes for one, flushed to the disk and renamed;
it is removed by renaming it first. A manifest inside it holds the size and checksum of every file,
so that damage is found before anything is loaded. SpeechBrain's stock `Checkpointer` reads these
folders, and folders that it wrote are read here, unchecked.
"""

import logging
import math
import os
import shutil

from speechbrain.utils.checkpoints import CKPT_PREFIX, Checkpointer, ckpt_recency
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_logger

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.training.integrity import (
    MANIFEST,
    find_fault,
    flush,
    plain_meta,
    write_manifest,
)

logger = get_logger(__name__)

SAVING, DELETING = ".saving-", ".deleting-"


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's `Checkpointer`, safe against being killed at any moment.

    Under DDP every process must call the saving and deleting methods; the main one writes and the
    others wait.

    Arguments
    ---------
    checkpoints_dir : str or pathlib.Path
        The folder that holds the checkpoints; made if absent.
    recoverables : mapping, optional
        Name -> object to save and restore.
    schedule : Schedule or str, optional
        What the model runs. Its text goes into each checkpoint's meta, and a checkpoint of another
        schedule is refused before anything is loaded.
    **kwargs
        Further arguments of the stock `Checkpointer`.

    Example
    -------
    >>> import tempfile, torch
    >>> model = torch.nn.Linear(1, 1)
    >>> checkpointer = AtomicCheckpointer(tempfile.mkdtemp(), {"model": model}, schedule="(0)x3")
    >>> saved = checkpointer.save_checkpoint(meta={"wer": torch.tensor(12.5)})
    >>> checkpointer.recover_if_possible(min_key="wer").meta["wer"]
    12.5
    """

    def __init__(self, checkpoints_dir, recoverables=None, schedule=None, **kwargs):
        super().__init__(checkpoints_dir, recoverables, **kwargs)
        self.schedule = schedule
        self._damaged = {}

    def save_checkpoint(self, meta=None, end_of_epoch=True, name=None, verbosity=logging.INFO):
        """Save all recoverables; see the stock method.

        Arguments
        ---------
        meta : mapping, optional
            Numbers and text to keep with the checkpoint. Numpy values and tensors become plain
            Python, since they would break every later listing.
        end_of_epoch : bool
            Whether the epoch is over, validation included.
        name : str, optional
            A name in place of the time; a checkpoint of that name is replaced.
        verbosity : int
            Level of the log line.

        Returns
        -------
        Checkpoint or None
            The saved checkpoint on the main process, None on the others.

        Raises
        ------
        ValueError
            If a value of `meta` is neither number nor text, nor a list or mapping of these.
        """
        meta = plain_meta(meta or {}) | {"manifest": MANIFEST}
        if self.schedule is not None:
            meta["schedule"] = str(self.schedule)
        if if_main_process():
            self._clear_leftovers()
        written = super().save_checkpoint(meta, end_of_epoch, name, logging.DEBUG)
        saved = None
        if written is not None:
            folder = self._publish(written.path)
            paramfiles = {k: folder / path.name for k, path in written.paramfiles.items()}
            saved = written._replace(path=folder, paramfiles=paramfiles)
            logger.log(verbosity, f"Saved the checkpoint {folder}")
        ddp_barrier()
        return saved

    def save_and_keep_only(self, *args, importance_keys=(), **kwargs):
        """The stock method, with a fresh list for it to append to (it grows its own default)."""
        super().save_and_keep_only(*args, importance_keys=list(importance_keys), **kwargs)

    def save_and_keep_best(self, meta, min_key, keep=1, keep_last=1):
        """Save at the end of an epoch; keep the best and the last, and delete all others.

        Checkpoints from within an epoch are deleted too, as the new one supersedes them.

        Arguments
        ---------
        meta : mapping
            As in `save_checkpoint`; `meta[min_key]` is the dev error at the trained loop count.
        min_key : str
            The error to rank by. One that is not finite never counts as good.
        keep : int
            How many to keep of the lowest error.
        keep_last : int
            How many to keep of the newest, at least 1.
        """
        self.save_checkpoint(meta)
        kept = self.find_checkpoints(min_key=min_key, max_num_checkpoints=keep)
        kept += self.find_checkpoints(
            ckpt_predicate=lambda c: c.meta["end-of-epoch"], max_num_checkpoints=keep_last
        )
        names = {checkpoint.path for checkpoint in kept}
        self.delete_checkpoints(num_to_keep=0, ckpt_predicate=lambda c: c.path not in names)

    def find_checkpoints(
        self,
        importance_key=None,
        max_key=None,
        min_key=None,
        ckpt_predicate=None,
        max_num_checkpoints=None,
    ):
        """The stock method, leaving out checkpoints whose ranked value is not finite."""
        key = min_key or max_key

        def counts(checkpoint):
            ranked = key is None or math.isfinite(checkpoint.meta.get(key, math.nan))
            return ranked and (ckpt_predicate is None or ckpt_predicate(checkpoint))

        return super().find_checkpoints(importance_key, max_key, min_key, counts, max_num_checkpoints)

    def find_intact(self, max_num_checkpoints=None, *args, **order):
        """The best checkpoints whose files all have the checksums of their manifest.

        Arguments
        ---------
        max_num_checkpoints : int, optional
            At most so many; all if None.
        *args, **order
            `importance_key`, `max_key`, `min_key` and `ckpt_predicate` of `find_checkpoints`; the
            newest come first if none is given.

        Returns
        -------
        list of Checkpoint
        """
        found = []
        for checkpoint in self.find_checkpoints(*args, **order):
            if len(found) == max_num_checkpoints:
                break
            fault = find_fault(checkpoint.path, checksums=True)
            if fault:
                self._report(checkpoint.path, fault)
            else:
                found.append(checkpoint)
        return found

    def find_checkpoint(self, *args, **order):
        """The best intact checkpoint, or None; damaged ones are named in a warning."""
        return next(iter(self.find_intact(1, *args, **order)), None)

    def recover_if_possible(self, *args, **order):
        """The stock method; refuses to start afresh where every checkpoint is damaged.

        Raises
        ------
        UserError
            If there are checkpoints but no intact one, or if the schedule differs.
        """
        chosen = super().recover_if_possible(*args, **order)
        if chosen is None and self._damaged and not self.list_checkpoints():
            raise UserError(
                f"{self.checkpoints_dir}: every checkpoint is damaged; "
                "delete the folder to train from the start"
            )
        return chosen

    def load_checkpoint(self, checkpoint):
        """Load into all recoverables.

        Raises
        ------
        UserError
            If the checkpoint's schedule, or a key or shape of its weights, is not this model's.
        """
        theirs, ours = checkpoint.meta.get("schedule"), self.schedule
        if theirs is not None and ours is not None and theirs != str(ours):
            raise UserError(
                f"{checkpoint.path}: was trained with the schedule {theirs}, but the model has "
                f"{ours}; set the same schedule or choose another output folder"
            )
        try:
            super().load_checkpoint(checkpoint)
        except RuntimeError as error:
            raise UserError(
                f"{checkpoint.path}: is not of this model; choose another output folder, or set what it "
                f"was trained with: {one_line(error)}"
            ) from error

    def list_checkpoints(self):
        """All checkpoints whose files are there in full length; others are named in a warning."""
        folders = []
        for folder in sorted(self.checkpoints_dir.glob(f"{CKPT_PREFIX}*")):
            if not folder.is_dir():
                continue
            fault = self._damaged.get(folder) or find_fault(folder)
            if fault:
                self._report(folder, fault)
            else:
                folders.append(folder)
        return self._construct_checkpoint_objects(folders)

    def delete_checkpoints(
        self,
        *,
        num_to_keep=1,
        min_keys=None,
        max_keys=None,
        importance_keys=(ckpt_recency,),
        ckpt_predicate=None,
        verbosity=logging.INFO,
    ):
        """Delete what no order ranks among its first `num_to_keep`; see the stock method."""
        if num_to_keep < 0:
            raise ValueError(f"num_to_keep is {num_to_keep}: it must be 0 or more")
        orders = [{"min_key": key} for key in min_keys or ()]
        orders += [{"max_key": key} for key in max_keys or ()]
        orders += [{"importance_key": key} for key in importance_keys]
        kept, ranked = set(), set()
        for order in orders:
            paths = [c.path for c in self.find_checkpoints(ckpt_predicate=ckpt_predicate, **order)]
            ranked.update(paths)
            kept.update(paths[:num_to_keep])
        ddp_barrier()
        if if_main_process():
            for folder in sorted(ranked - kept):
                _remove(folder)
                logger.log(verbosity, f"Deleted the checkpoint {folder}")
        ddp_barrier()

    def _new_checkpoint_dirpath(self):
        return _renamed(super()._new_checkpoint_dirpath(), SAVING)

    def _custom_checkpoint_dirpath(self, name):
        return _renamed(super()._custom_checkpoint_dirpath(name), SAVING)

    def _clear_leftovers(self):
        for prefix in (SAVING, DELETING):
            for folder in self.checkpoints_dir.glob(f"{prefix}*"):
                shutil.rmtree(folder)

    def _publish(self, hidden):
        """Flush a written folder, record its files and give it its name."""
        write_manifest(hidden)
        folder = hidden.with_name(hidden.name.removeprefix(SAVING))
        if folder.exists():
            _remove(folder)
        os.rename(hidden, folder)
        flush(self.checkpoints_dir)
        self._damaged.pop(folder, None)
        return folder

    def _report(self, folder, fault):
        if folder not in self._damaged:
            logger.warning(f"Checkpoint {folder} is damaged and not used: {fault}")
        self._damaged[folder] = fault


def _renamed(folder, prefix):
    return folder.with_name(prefix + folder.name)


def _remove(folder):
    """Delete a checkpoint so that no part of it is ever taken for one."""
    hidden = _renamed(folder, DELETING)
    os.rename(folder, hidden)
    shutil.rmtree(hidden)
