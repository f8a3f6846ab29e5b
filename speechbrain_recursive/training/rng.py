"""The state of all random number generators, saved with a checkpoint."""

import random

import numpy as np
import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import (
    get_rank,
    if_main_process,
    is_distributed_initialized,
)
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)


class RandomState:
    """A recoverable that saves and restores Python's, NumPy's and PyTorch's global generators.

    The state of every process is kept, since processes draw differently. A DataLoader without a
    `generator` of its own draws a seed from the global one whenever its iterator is made, which is
    once more in a resumed run: give the training loader one, else the draws after a resume differ.

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
        states = [capture()]
        if is_distributed_initialized():
            states *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, capture())
        if if_main_process():
            torch.save(states, path)

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Restore this process's state.

        A run that goes on with more processes than were saved keeps the new ones as they are, and
        says so.

        Arguments
        ---------
        path : pathlib.Path
            The file.
        end_of_epoch : bool
            Makes no difference.
        """
        del end_of_epoch
        states = torch.load(path, map_location="cpu")
        rank = get_rank() if is_distributed_initialized() else 0
        size = torch.distributed.get_world_size() if is_distributed_initialized() else 1
        if len(states) != size:
            logger.warning(
                f"{path} holds the random state of {len(states)} processes, and {size} are "
                "running: the run goes on, but not with the numbers it would have drawn"
            )
        if rank < len(states):
            restore(states[rank])


register_checkpoint_hooks(RandomState, save_on_main_only=False)


def capture():
    """Take the state of this process's global generators.

    Returns
    -------
    dict
        Plain Python and uint8 tensors, which `torch.load` reads with `weights_only`.
    """
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(state):
    """Set this process's global generators.

    Arguments
    ---------
    state : dict
        From `capture`. Devices that are not there any more are passed over.
    """
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    for device, cuda in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
        torch.cuda.set_rng_state(cuda, device)
