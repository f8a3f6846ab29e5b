"""A method that no file of the package knows: schedule, hook, objective, teacher, decoder and YAML.

Run as `python test_new_method.py CORPUS FOLDER` it trains in forked processes, whole in FOLDER/whole and
killed and resumed in FOLDER/killed.
"""

import json
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch._dynamo  # takes a second in every optimizer: before the forks, not after them
from torch import nn

from speechbrain_recursive.decoding.decoder import Decoder
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.objectives.objective import Objective
from speechbrain_recursive.training.brain import Brain
from speechbrain_recursive.training.teachers import Teacher

RECIPES = Path(__file__).parents[2] / "recipes"
STAGE_EPOCHS, EPOCHS = 1, 3

YAML = f"""
base: {RECIPES}/common/mini.yaml
corpus: !new:speechbrain_recursive.data.librispeech.LibriSpeech
    train_splits: [train-clean-100]
    dev_splits: [dev-clean]
    test_splits: [test-clean]
characters: "'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
tokenizer:
    seq2seq: False

n_recurrent: !remove
loops: !remove
n_prelude: !remove
n_coda: !remove
schedule: !apply:speechbrain_recursive.nn.schedule.bicycle
    n_phonetic: 2
    n_linguistic: 3
    phonetic_loops: 2
    linguistic_loops: 3
eval_loops: [{{phonetic: 1, linguistic: 1}}]
hooks:
    phonetic:
        - !new:test_new_method.AverageAndPool
d_model: 16
nhead: 2
d_ffn: 32
frontend:
    strides: !tuple (2, 1)
num_decoder_layers: !remove
heads:
    seq2seq: !remove
lm: !remove
lm_weight: !remove
decoders:
    joint: !remove
    backwards: !new:test_new_method.Backwards
teachers:
    oracle: !new:test_new_method.Oracle
        seed: 3
objective: !new:speechbrain_recursive.objectives.stages.Stages
    epochs: [{STAGE_EPOCHS}]
    objectives:
        - !new:speechbrain_recursive.objectives.joint.Joint
            weights: {{match: 1.0}}
            objectives:
                - !new:test_new_method.Match
                    d_model: !ref <d_model>
        - !new:speechbrain_recursive.objectives.joint.Joint
            weights: {{ctc: 1.0}}
            objectives:
                - !new:speechbrain_recursive.objectives.ctc.CTC
number_of_epochs: {EPOCHS}
number_of_steps: null
lr_scheduler:
    n_warmup_steps: 1
    total_steps: 50
max_batch_seconds: 8
tensorboard: False
"""


class AverageAndPool(Hook):
    """Leaves the block with the mean over its loops, at half the frames."""

    def before_loop(self, state):
        before = state.memory.get("sum", torch.zeros_like(state.x))
        return state.remember(sum=before if state.step.loop == 0 else before + state.x)

    def leave_block(self, state):
        mean = (state.memory["sum"] + state.x) / (state.step.loop + 1)
        pairs = mean[:, : mean.shape[1] // 2 * 2].unflatten(1, (-1, 2))
        memory = {name: value for name, value in state.memory.items() if name != "sum"}
        return replace(state, memory=memory).resize(pairs.mean(2), (state.frames // 2).clamp(min=1))


class Match(Objective):
    """Distance of the projected phonetic states from what the teacher says of the features."""

    def __init__(self, d_model):
        super().__init__()
        self.project = nn.Linear(d_model, 4)

    def needs(self, depth):
        return Request(taps=depth.schedule.ends("phonetic")[-1:], teachers={"oracle": Request()})

    def forward(self, outputs, batch):
        (state,), wanted = outputs.taps.values(), outputs.teachers["oracle"]
        assert not wanted.requires_grad
        assert wanted.shape[:2] == state.x.shape[:2]
        error = (self.project(state.x) - wanted).square().mean(-1)
        return {"match": error[~state.pad].mean()}


class Oracle(Teacher):
    """A fixed linear function of the features that the student sees."""

    def __init__(self, seed):
        self.seed = seed

    def setup(self, tokenizer, device):
        draw = torch.Generator().manual_seed(self.seed)
        self.weight = torch.randn(80, 4, generator=draw).to(device)

    def __call__(self, features, frames, targets, batch, request):
        assert not torch.is_grad_enabled()
        return features[:, ::2] @ self.weight / 9


class Backwards(Decoder):
    """Greedy decoding, last token first."""

    def build(self, setting):
        return lambda outputs: [ids[::-1] for ids in greedy(outputs.log_probs, outputs.frames)]


def train(recipe, corpus, folder, die_at=None):
    """Train in a child process, which kills itself at a batch; returns whether it lived."""
    child = os.fork()
    if child == 0:
        try:
            fit_batch, left = Brain.fit_batch, [die_at]

            def mortal(brain, batch):
                if left[0] is not None:
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                return fit_batch(brain, batch)

            Brain.fit_batch = mortal
            options = {"data_folder": corpus, "output_folder": folder, "device": "cpu"}
            options |= {"ckpt_interval_minutes": 0, "ckpt_interval_steps": 3}
            words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
            sys.argv = ["train.py", str(recipe), *words, "--noprogressbar"]
            runpy.run_path(str(RECIPES / "LibriSpeech/train.py"), run_name="__main__")
        except BaseException:
            logging.exception("the run failed")
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == 0


def main(corpus, folder):
    torch.set_num_threads(1)
    recipe = folder / "toy.yaml"
    recipe.write_text(YAML)
    assert train(recipe, corpus, folder / "whole")
    log = (folder / "whole/train_log.txt").read_text()
    batches = int(re.search(r"epoch: 1, step: (\d+)", log)[1])
    assert batches > 5, "two kills need room in an epoch"
    killed = folder / "killed"
    assert not train(recipe, corpus, killed, die_at=5)  # in the first stage, amid an epoch
    assert not train(recipe, corpus, killed, die_at=batches)  # in the second, amid its first epoch
    assert train(recipe, corpus, killed)


@pytest.fixture(scope="module")
def runs(librispeech, tmp_path_factory):
    """The folder with both runs."""
    folder = tmp_path_factory.mktemp("toy")
    process = subprocess.run(
        [sys.executable, __file__, librispeech, folder],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return folder


def logged(folder, name):
    text = (folder / "train_log.txt").read_text()
    return [float(value) for value in re.findall(rf"{name}: ([-+.\w]+)", text)]


def test_it_trains_in_two_stages(runs):
    assert len(logged(runs / "whole", "train match")) == STAGE_EPOCHS
    assert len(logged(runs / "whole", "train ctc")) == EPOCHS - STAGE_EPOCHS
    ctc = logged(runs / "whole", "train ctc")
    assert ctc[-1] < ctc[0]


def test_killed_and_resumed_it_is_the_same_to_the_bit(runs):
    whole, killed = (torch.load(runs / run / "model.ckpt") for run in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(value, killed[key]) for key, value in whole.items())
    objectives = [
        torch.load(sorted((runs / run / "save").glob("CKPT*"))[-1] / "objective.ckpt")
        for run in ("whole", "killed")
    ]
    assert any("project" in key for key in objectives[0])
    assert all(torch.equal(value, objectives[1][key]) for key, value in objectives[0].items())


def test_the_projection_was_trained_and_is_not_published(runs, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    with pytest.raises(UserError, match=r"!new:test_new_method\.\w+ is not among .* add --trust"):
        load_trained(runs / "whole")
    model, hparams = load_trained(runs / "whole", trust=True)
    trained = torch.load(sorted((runs / "whole/save").glob("CKPT*"))[-1] / "objective.ckpt")
    initial = hparams["objective"].state_dict()
    assert trained.keys() == initial.keys()
    assert all(not torch.equal(value, initial[key]) for key, value in trained.items())
    published = torch.load(runs / "whole/model.ckpt")
    assert published.keys() == model.state_dict().keys()
    assert not [key for key in published if not key.startswith(("embed.", "encoder.", "heads.ctc."))]
    assert not any(value.shape[:1] == (4,) or value.shape[-1:] == (4,) for value in published.values())


def test_it_reports_at_its_own_depth(runs):
    report = json.loads((runs / "whole/report.json").read_text())
    assert report["logical_depth"] == 2 + 2 * 1 + 3 * 2
    (trained,) = {row["depth"] for row in report["results"] if row["trained"]}
    assert trained == report["logical_depth"]
    assert {row["depth"] for row in report["results"]} == {5, trained}
    assert {row["decoder"] for row in report["results"]} == {"greedy", "ngram", "backwards"}
    assert not any("loops" in row for row in report["results"])
    assert (runs / "whole/wer_vs_depth.png").stat().st_size > 0
    heard = json.loads((runs / "whole/hypotheses.json").read_text())
    assert {row["decoder"] for row in heard} == {"greedy", "ngram", "backwards"}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
