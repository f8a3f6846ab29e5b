"""Two gloo processes save and resume together; see test_rng.py. Run as `python ddp_run.py FOLDER`."""

import os
import sys
from pathlib import Path

import torch

from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.rng import RandomState


def run(folder, rank):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    model = torch.nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(folder / "save", {"model": model, "rng": RandomState()})
    saved = [checkpointer.save_checkpoint() for _ in range(2)]
    checkpointer.save_and_keep_only()
    drawn = torch.rand(4)
    checkpointer.recover_if_possible()
    result = {"drawn": drawn, "again": torch.rand(4), "wrote": [x is not None for x in saved]}
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    child = os.fork()
    run(target, 1 if child == 0 else 0)
    if child:
        assert os.waitpid(child, 0)[1] == 0
