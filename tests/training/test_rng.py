"""All generators come back as they were saved, in every process."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.rng import RandomState


def draw():
    cuda = torch.rand(2, device="cuda").tolist() if torch.cuda.is_available() else None
    return torch.rand(2).tolist(), torch.randn(3).tolist(), random.gauss(0, 1), np.random.randn(), cuda


def test_all_generators_are_restored(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"rng": RandomState()})
    draw()  # leaves half a Gaussian pair in Python's and NumPy's generators
    checkpointer.save_checkpoint()
    first, second = draw(), draw()
    assert first != second
    checkpointer.recover_if_possible()
    assert (draw(), draw()) == (first, second)


def test_another_number_of_processes_is_said(tmp_path, caplog):
    checkpointer = AtomicCheckpointer(tmp_path, {"rng": RandomState()})
    path = checkpointer.save_checkpoint().paramfiles["rng"]
    torch.save(torch.load(path) * 2, path)
    RandomState().load(path, True)
    assert "2 processes, and 1 are running" in caplog.text


def test_each_process_gets_its_own_state_back(tmp_path):
    script = Path(__file__).with_name("ddp_run.py")
    process = subprocess.run(
        [sys.executable, script, tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert not torch.equal(ranks[0]["drawn"], ranks[1]["drawn"])
    for rank in ranks:
        assert torch.equal(rank["drawn"], rank["again"])
    assert [rank["wrote"] for rank in ranks] == [[True, True], [False, False]]
    assert len(list((tmp_path / "save").iterdir())) == 1
