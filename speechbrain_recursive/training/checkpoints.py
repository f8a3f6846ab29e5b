"""Checkpoints that are whole or absent, in SpeechBrain's own format.

A checkpoint is written to a hidden folder, flushed to disk and then renamed. To delete it, it is hidden
again first. A manifest inside it holds the size and checksum of every file, so that damage is found
before anything is loaded. SpeechBrain's ``Checkpointer`` reads these folders, and folders that it wrote
are read here, without checksums.
"""

import logging
import math
import shutil
from itertools import islice
from pickle import UnpicklingError

from speechbrain.utils.checkpoints import CKPT_PREFIX, Checkpointer, ckpt_recency
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_logger

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.training.integrity import MANIFEST, find_fault, flush, plain, write_manifest

logger = get_logger(__name__)

HIDDEN = ".partial-"


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's ``Checkpointer``, safe against being killed at any moment.

    Under DDP every process must call the methods that save and delete; the main process writes, and the
    others wait.

    Arguments
    ---------
    checkpoints_dir : str or pathlib.Path
        The folder of the checkpoints. It is created if it does not exist.
    recoverables : mapping, optional
        Objects to save and restore, by name.
    **kwargs
        Further arguments of the stock ``Checkpointer``.

    Example
    -------
    >>> import tempfile, torch
    >>> model = torch.nn.Linear(1, 1)
    >>> checkpointer = AtomicCheckpointer(tempfile.mkdtemp(), {"model": model})
    >>> saved = checkpointer.save_checkpoint(meta={"wer": torch.tensor(12.5)})
    >>> checkpointer.recover_if_possible(min_key="wer").meta["wer"]
    12.5
    """

    def __init__(self, checkpoints_dir, recoverables=None, **kwargs):
        super().__init__(checkpoints_dir, recoverables, **kwargs)
        self._damaged = set()

    def save_checkpoint(self, meta=None, end_of_epoch=True, name=None, verbosity=logging.INFO):
        """Save all recoverables; see the stock method.

        Arguments
        ---------
        meta : mapping, optional
            Numbers and text to keep with the checkpoint. NumPy values and tensors become plain Python,
            because they would break every later listing. A number that is not finite is left out, so
            that it is never ranked as the best.
        end_of_epoch : bool
            Whether the epoch is over, validation included.
        name : str, optional
            A new name to use in place of the time.
        verbosity : int
            Level of the log line.

        Returns
        -------
        Checkpoint or None
            The saved checkpoint on the main process, None on the others.

        Raises
        ------
        ValueError
            If a value of ``meta`` is neither number nor text, nor a list or mapping of these.
        UserError
            If it cannot be written, such as to a full disk.
        """
        meta = {
            key: value
            for key, value in plain(meta or {}).items()
            if not isinstance(value, float) or math.isfinite(value)
        }
        meta["manifest"] = MANIFEST
        if if_main_process():
            self._clear()
        try:
            saved = super().save_checkpoint(meta, end_of_epoch, name, logging.DEBUG)
            if saved is not None:
                write_manifest(saved.path)
                folder = saved.path.with_name(saved.path.name.removeprefix(HIDDEN))
                saved.path.rename(folder)
                flush(self.checkpoints_dir)
                (saved,) = self._construct_checkpoint_objects([folder])
                logger.log(verbosity, f"Saved the checkpoint {folder}")
        except (OSError, RuntimeError) as error:
            # torch.save raises a RuntimeError of its archive's writer on a full disk
            if not isinstance(error, OSError) and "inline_container" not in str(error):
                raise
            self._clear()
            why = getattr(error, "strerror", None) or "a file could not be written whole"
            raise UserError(
                f"{self.checkpoints_dir}: a checkpoint cannot be saved ({why}), earlier ones are kept; "
                "make room on the disk and repeat the command to resume"
            ) from error
        ddp_barrier()
        return saved

    def save_and_keep_only(self, *args, importance_keys=(), **kwargs):
        """The stock method, which appends to its default list, with a new list for each call."""
        super().save_and_keep_only(*args, importance_keys=list(importance_keys), **kwargs)

    def save_and_keep_best(self, meta, min_key, keep=1):
        """Save at the end of an epoch; keep the best checkpoints and the last, delete all others.

        Checkpoints from within an epoch are deleted, too.

        Arguments
        ---------
        meta : mapping
            As in :meth:`save_checkpoint`; ``meta[min_key]`` is the dev error at the trained loop count.
        min_key : str
            The error to rank by.
        keep : int
            How many of the lowest error to keep.
        """
        self.save_checkpoint(meta)
        kept = self.find_checkpoints(min_key=min_key, max_num_checkpoints=keep)
        kept += self.find_checkpoints(
            ckpt_predicate=lambda c: c.meta["end-of-epoch"], max_num_checkpoints=1
        )
        paths = {checkpoint.path for checkpoint in kept}
        self.delete_checkpoints(num_to_keep=0, ckpt_predicate=lambda c: c.path not in paths)

    def find_intact(self, max_num_checkpoints=None, **order):
        """The best checkpoints whose files all have the checksums of their manifest.

        Arguments
        ---------
        max_num_checkpoints : int, optional
            Maximum number; all by default.
        **order
            ``importance_key``, ``max_key``, ``min_key`` and ``ckpt_predicate`` of ``find_checkpoints``;
            the newest come first if none is given.

        Returns
        -------
        list of Checkpoint
        """
        found = self.find_checkpoints(**order)
        intact = (checkpoint for checkpoint in found if self._is_intact(checkpoint.path, checksums=True))
        return list(islice(intact, max_num_checkpoints))

    def recover_if_possible(self, **order):
        """Load the best intact checkpoint; damaged ones are named in a warning.

        Arguments
        ---------
        **order
            As in :meth:`find_intact`.

        Returns
        -------
        Checkpoint or None
            What was loaded.

        Raises
        ------
        UserError
            If there are checkpoints but no intact one, or if they are of another model.
        """
        for chosen in self.find_intact(1, **order):
            self.load_checkpoint(chosen)
            return chosen
        if self._damaged and not self.list_checkpoints():
            raise UserError(
                f"{self.checkpoints_dir}: every checkpoint is damaged; "
                "delete the folder to train from the start"
            )
        return None

    def load_checkpoint(self, checkpoint):
        """Load into all recoverables.

        Raises
        ------
        UserError
            If a recoverable refuses it, or a key or shape of its weights differs from the model's.
        """
        try:
            super().load_checkpoint(checkpoint)
        except (RuntimeError, UnpicklingError) as error:
            raise UserError(
                f"{checkpoint.path}: is not of this model; choose another output folder, or set what it "
                f"was trained with: {one_line(error)}"
            ) from error

    def list_checkpoints(self):
        """All checkpoints whose files exist in full length; others are named in a warning."""
        found = sorted(self.checkpoints_dir.glob(f"{CKPT_PREFIX}*"))
        folders = [folder for folder in found if folder.is_dir() and self._is_intact(folder)]
        return self._construct_checkpoint_objects(folders)

    def delete_checkpoints(
        self, *, num_to_keep=1, ckpt_predicate=None, verbosity=logging.INFO, **orders
    ):
        """Delete what no order ranks among its first ``num_to_keep``; see the stock method.

        Arguments
        ---------
        num_to_keep : int
            How many to keep by each order.
        ckpt_predicate : callable, optional
            Only checkpoints for which it returns True may be deleted.
        verbosity : int
            Level of the log lines.
        **orders
            ``importance_keys`` (recency by default), ``min_keys`` and ``max_keys``, each a list or None.
        """
        kept, ranked = set(), set()
        for name, keys in ({"importance_keys": [ckpt_recency]} | orders).items():
            for key in keys or ():
                order = {name.removesuffix("s"): key, "ckpt_predicate": ckpt_predicate}
                paths = [checkpoint.path for checkpoint in self.find_checkpoints(**order)]
                ranked.update(paths)
                kept.update(paths[:num_to_keep])
        ddp_barrier()
        if if_main_process():
            for folder in sorted(ranked - kept):
                # hidden first, so that no part of it is ever taken for a checkpoint
                shutil.rmtree(folder.rename(_hidden(folder)))
                logger.log(verbosity, f"Deleted the checkpoint {folder}")
        ddp_barrier()

    def _new_checkpoint_dirpath(self):
        return _hidden(super()._new_checkpoint_dirpath())

    def _custom_checkpoint_dirpath(self, name):
        return _hidden(super()._custom_checkpoint_dirpath(name))

    def _clear(self):
        """Delete what interrupted saves and deletions have left."""
        for leftover in self.checkpoints_dir.glob(f"{HIDDEN}*"):
            shutil.rmtree(leftover)

    def _is_intact(self, folder, checksums=False):
        """Whether a checkpoint has no known fault; the first that is found is named in a warning."""
        if folder not in self._damaged and (fault := find_fault(folder, checksums)):
            logger.warning(f"Checkpoint {folder} is damaged and not used: {fault}")
            self._damaged.add(folder)
        return folder not in self._damaged


def _hidden(folder):
    return folder.with_name(HIDDEN + folder.name)
