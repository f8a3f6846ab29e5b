"""Ctrl-C and SIGTERM: save, then stop."""

import os
import signal
import threading

import pytest
import torch

from speechbrain_recursive.training.brain import Brain
from speechbrain_recursive.training.stopping import StopRequest


@pytest.fixture
def interrupt(monkeypatch):
    """``interrupt(number, step)``: send a signal to this process at an optimizer step."""

    def arrange(number, at):
        step = Brain.optimizers_step

        def interrupted(brain):
            step(brain)
            if brain.optimizer_step == at:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Brain, "optimizers_step", interrupted)

    return arrange


@pytest.mark.parametrize("at", [1, 2, 3])  # an epoch has 3 steps
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops_and_the_run_resumes(mini, interrupt, tmp_path, capfd, number, at):
    options = ("number_of_steps", 5, "max_batch_seconds", 20)
    with pytest.MonkeyPatch.context():
        whole = mini(tmp_path / "whole", *options)
    interrupt(number, at)
    with pytest.raises(SystemExit) as caught:
        mini(tmp_path / "run", *options)
    assert caught.value.code == 128 + number
    said = capfd.readouterr().err
    assert f"stopped after step {at}; repeat the command to resume" in said
    assert "Traceback" not in said
    assert len(list((tmp_path / "run/save").iterdir())) == 1
    interrupt(number, -1)
    mini(tmp_path / "run", *options)
    first, second = (torch.load(folder / "model.ckpt") for folder in (whole, tmp_path / "run"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_second_signal_stops_at_once():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.received() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_another_thread_gets_no_signals():
    found = []

    def run():
        with StopRequest() as stop:
            found.append(stop.received())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [0]
