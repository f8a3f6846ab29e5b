"""The state of all random number generators, saved with a checkpoint."""

import random

import numpy as np
import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from speechbrain_recursive.training.distributed import shard

logger = get_logger(__name__)


class RandomState:
    """A recoverable that saves and restores the global generators of Python, NumPy and PyTorch.

    The state of every process is saved, because processes draw differently. A DataLoader without a
    ``generator`` of its own draws a seed from the global one whenever its iterator is created, which
    happens once more in a resumed run. Give the training loader a generator of its own.

    Example
    -------
    >>> import tempfile
    >>> from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
    >>> checkpointer = AtomicCheckpointer(tempfile.mkdtemp(), {"rng": RandomState()})
    >>> _ = checkpointer.save_checkpoint()
    >>> before = torch.rand(3)
    >>> _ = checkpointer.recover_if_possible()
    >>> torch.equal(before, torch.rand(3))
    True
    """

    @mark_as_saver
    def save(self, path):
        """Write the states of all processes; every process must call this.

        Arguments
        ---------
        path : pathlib.Path
            The file.
        """
        states = [_capture()] * shard()["world_size"]
        if len(states) > 1:
            torch.distributed.all_gather_object(states, states[0])
        if if_main_process():
            torch.save(states, path)

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Restore this process's state.

        If there are more processes than were saved, the others keep their states, with a warning.

        Arguments
        ---------
        path : pathlib.Path
            The file.
        end_of_epoch : bool
            Not used.
        """
        del end_of_epoch
        states = torch.load(path, map_location="cpu", weights_only=True)
        rank, size = shard().values()
        if len(states) != size:
            logger.warning(
                f"{path} holds the random state of {len(states)} processes, and {size} are "
                "running: the run continues with other random numbers"
            )
        if rank < len(states):
            _restore(states[rank])


register_checkpoint_hooks(RandomState, save_on_main_only=False)


def _capture():
    """The state of this process's global generators, as ``torch.load`` reads with ``weights_only``."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def _restore(state):
    """Set this process's global generators; the states of GPUs that no longer exist are ignored."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    for device, cuda in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
        torch.cuda.set_rng_state(cuda, device)
