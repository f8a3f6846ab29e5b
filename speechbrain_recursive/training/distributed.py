"""The rank of this process in distributed training."""

import torch


def shard():
    """This process's part of the batches.

    Returns
    -------
    dict
        ``rank`` and ``world_size`` (int), 0 and 1 outside DDP.

    Example
    -------
    >>> shard()
    {'rank': 0, 'world_size': 1}
    """
    if not torch.distributed.is_initialized():
        return {"rank": 0, "world_size": 1}
    return {"rank": torch.distributed.get_rank(), "world_size": torch.distributed.get_world_size()}
