"""Curves over optimizer steps, and a run of Weights & Biases that goes on."""

import json
import sys
import types
from datetime import timedelta

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.training.loggers import train_loggers

LINE = {"epoch": 1, "step": 40, "lr": 0.5, "loss": 2.0, "time left": timedelta(seconds=90)}
EPOCH = {"epoch": 1, "step": 50, "lr": 0.25}


@pytest.fixture
def wandb(monkeypatch):
    """A module in its place, which notes what it is given."""
    module = types.ModuleType("wandb")
    module.given, module.logged = [], []
    run = types.SimpleNamespace(log=lambda values, step: module.logged.append((step, values)))
    module.init = lambda **given: module.given.append(given) or run
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def hparams(folder, **more):
    return {"output_folder": str(folder), "tensorboard": False, "wandb_project": None, **more}


def log(loggers):
    for each in loggers:
        each.log_stats(LINE)
        each.log_stats(EPOCH, train_stats={"loss": 3.0}, valid_stats={"loss": 4.0, "WER": 5.0})


def test_lines_of_steps_and_of_epochs(tmp_path):
    log(train_loggers(hparams(tmp_path), ""))
    assert (tmp_path / "train_log.txt").read_text().splitlines() == [
        "epoch: 1, step: 40, lr: 5.00e-01, loss: 2.00, time left: 0:01:30",
        "epoch: 1, step: 50, lr: 2.50e-01 - train loss: 3.00 - valid loss: 4.00, valid WER: 5.00",
    ]


def test_points_stand_at_their_optimizer_steps(tmp_path):
    for _ in range(2):  # a resumed run logs the steps since its checkpoint again
        log(train_loggers(hparams(tmp_path, tensorboard=True), ""))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = {
        tag: {(point.step, point.value) for point in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }
    assert points == {
        "epoch": {(40, 1.0), (50, 1.0)},
        "lr": {(40, 0.5), (50, 0.25)},
        "loss": {(40, 2.0)},
        "loss/train": {(50, 3.0)},
        "loss/valid": {(50, 4.0)},
        "WER/valid": {(50, 5.0)},
    }


def test_weights_and_biases_gets_hyperparameters_and_goes_on(tmp_path, wandb):
    folder = tmp_path / "mini/1234"
    text = "lr: 0.1\nmodel: !new:Model\n  width: [8, !ref <lr>]\n  deep: true\n"
    for _ in range(2):
        log(train_loggers(hparams(folder, wandb_project="speech"), text))
    first, second = wandb.given
    assert first == second
    assert first["project"] == "speech"
    assert first["name"] == "mini/1234"
    assert first["resume"] == "allow"
    assert first["config"] == {
        "lr": 0.1,
        "model": "!new:Model",
        "model[width][0]": 8,
        "model[width][1]": 0.1,
        "model[deep]": True,
    }
    train_loggers(hparams(tmp_path / "other", wandb_project="speech"), text)
    assert wandb.given[2]["id"] != first["id"]
    assert wandb.logged[:2] == [
        (40, {"epoch": 1, "lr": 0.5, "loss": 2.0}),
        (50, {"epoch": 1, "lr": 0.25, "loss/train": 3.0, "loss/valid": 4.0, "WER/valid": 5.0}),
    ]


def test_weights_and_biases_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        train_loggers(hparams(tmp_path, wandb_project="speech"), "lr: 0.1\n")


def test_a_whole_recipe_as_hyperparameters(mini, tmp_path, wandb):
    mini(tmp_path / "run", "wandb_project", "speech")
    (given,) = wandb.given
    config = given["config"]
    assert (config["seed"], config["lr"], config["opt_class[lr]"]) == (1234, 0.002, 0.002)
    assert {type(value) for value in config.values()} <= {int, float, str, bool, type(None)}
    assert json.loads(json.dumps(config)) == config
    assert (tmp_path / "run/wandb_id.txt").read_text() == given["id"]
    assert [step for step, _ in wandb.logged] == [2]
