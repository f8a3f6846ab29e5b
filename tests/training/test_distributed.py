"""Two processes train like one that accumulates the gradients of their batches."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from speechbrain_recursive.training.distributed import shard


@pytest.fixture(scope="module")
def runs(librispeech, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    process = subprocess.run(
        [sys.executable, Path(__file__).with_name("ddp_recipe.py"), librispeech, folder],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return folder


@pytest.mark.parametrize("settings", ["plain", "drawn", "lm", "stages"])
def test_weights_are_those_of_one_process(runs, settings):
    one, two = (torch.load(runs / settings / name / "model.ckpt") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-6, msg=key)


def test_drawn_loops_make_another_model(runs):
    plain, drawn = (torch.load(runs / name / "one/model.ckpt") for name in ("plain", "drawn"))
    assert not all(torch.allclose(value, drawn[key], atol=1e-5) for key, value in plain.items())


@pytest.mark.parametrize("settings", ["plain", "drawn", "lm"])
def test_dev_and_test_errors_are_those_of_one_process(runs, settings):
    logs = [(runs / settings / name / "train_log.txt").read_text() for name in ("one", "two")]
    one, two = (re.findall(r"(?:step|valid \w+): [\d.e+-]+", log) for log in logs)
    assert one == two
    assert one[0] == "step: 3"
    assert len(one) > 2
    one, two = (
        json.loads((runs / settings / name / "report.json").read_text()) for name in ("one", "two")
    )
    for first, second in zip(one["results"], two["results"], strict=True):
        assert first | {"rtf": 0} == {key: pytest.approx(value) for key, value in second.items()} | {
            "rtf": 0
        }


def test_processes_draw_speeds_of_their_own(runs):
    one, two = ((runs / f"speeds/two/draws-{rank}").read_text().split() for rank in (0, 1))
    assert len({*one, *two}) > 3
    shared = min(len(one), len(two))
    assert one[:shared] != two[:shared]


def test_each_stage_trained(runs):
    logs = [(runs / "stages" / name / "train_log.txt").read_text() for name in ("one", "two")]
    for name in ("train match", "train ctc"):
        one, two = (re.findall(rf"{name}: ([\d.e+-]+)", log) for log in logs)
        assert len(one) == len(two) == 1


def test_one_process_writes_the_checkpoints(runs):
    for folder in runs.glob("*/two"):
        names = [path.name for path in (folder / "save").iterdir()]
        assert names
        assert all(name.startswith("CKPT+") for name in names)
        assert len(torch.load(next((folder / "save").glob("CKPT+*/rng.ckpt")), weights_only=False)) == 2


def test_outside_ddp_all_batches_are_ours():
    assert shard() == {"rank": 0, "world_size": 1}
