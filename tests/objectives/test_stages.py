"""Stages: which objective an epoch has follows from its number alone."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import cycle
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.joint import Joint
from speechbrain_recursive.objectives.stages import Stages

DEPTH = Depth(cycle(1, 3))


@pytest.fixture
def stages(given):
    """Two epochs of a, three of b, then c."""
    return Stages(
        [given({name: torch.tensor(float(i))}, Request(taps=[i])) for i, name in enumerate("abc")],
        epochs=[2, 3],
    )


def stage_of(stages, epoch):
    """The name of the loss that an epoch has, which must be the only one asked for."""
    stages.start_epoch(epoch)
    ((name, loss),) = stages(None, None).items()
    assert stages.needs(DEPTH) == Request(taps=[int(loss)])
    return name


def test_each_runs_for_its_epochs_and_the_last_to_the_end(stages):
    assert "".join(stage_of(stages, epoch) for epoch in range(1, 11)) == "aabbbccccc"


def test_the_epoch_alone_decides(stages):
    """A resumed run starts anywhere; one that is restarted goes back."""
    assert "".join(stage_of(stages, epoch) for epoch in (6, 1, 3, 2, 99, 5)) == "cabacb"


def test_all_stages_can_be_asked_at_once(stages, given):
    wanted = [Request(taps=[i]) for i in range(3)]
    for epoch in (1, 4):
        stages.start_epoch(epoch)
        assert stages.requests(DEPTH) == wanted
    other = given({"d": torch.tensor(1.0)}, Request(taps=[7]))
    assert Joint([other, stages], {}).requests(DEPTH) == [Request(taps=[7, i]) for i in range(3)]
    assert Joint([other], {}).requests(DEPTH) == [Joint([other], {}).needs(DEPTH)]


def test_before_any_epoch_it_is_in_the_first(stages):
    assert list(stages(None, None)) == ["a"]
    assert stages.needs(DEPTH) == Request(taps=[0])


def test_a_stage_counts_its_own_epochs(stages):
    for stage in stages.objectives:
        stage.epochs.clear()
    for epoch in range(1, 8):
        stages.start_epoch(epoch)
    assert [stage.epochs for stage in stages.objectives] == [[1, 2], [1, 2, 3], [1, 2]]


def test_parameters_of_all_stages_are_there_at_any_time(stages):
    keys = [f"objectives.{i}.scale" for i in range(3)]
    for epoch in (1, 4, 9):
        stages.start_epoch(epoch)
        assert list(stages.state_dict()) == keys
        assert [name for name, _ in stages.named_parameters()] == keys


def test_losses_of_the_present_stage_alone_have_gradients(make_case):
    ctc = [Joint([CTC()], {"ctc": weight}) for weight in (0.5, 2.0)]
    stages = Stages(ctc, epochs=[1])
    outputs, batch = make_case([[1, 2]], [4])
    plain = CTC()(outputs, batch)["ctc"]
    for epoch, weight in ((1, 0.5), (2, 2.0)):
        stages.start_epoch(epoch)
        losses = stages(outputs, batch)
        torch.testing.assert_close(losses["loss"], weight * plain)
        assert list(losses) == ["ctc", "loss"]
        (gradient,) = torch.autograd.grad(losses["loss"], outputs.log_probs)
        assert gradient.any()


def test_one_stage_needs_no_epochs(given):
    stages = Stages([given({"a": torch.tensor(1.0)})], epochs=[])
    stages.start_epoch(50)
    assert list(stages(None, None)) == ["a"]


def test_from_yaml():
    stages = load_hyperpyyaml(
        """
        objective: !new:speechbrain_recursive.objectives.stages.Stages
            epochs: [30]
            objectives:
                - !new:speechbrain_recursive.objectives.seq2seq.Seq2Seq
                - !new:speechbrain_recursive.objectives.ctc.CTC
        """
    )["objective"]
    stages.start_epoch(30)
    assert stages.needs(DEPTH) == Request(["seq2seq"])
    stages.start_epoch(31)
    assert stages.needs(DEPTH) == Request(["ctc"])


@pytest.mark.parametrize("epochs", [[], [1], [1, 2, 3], [1, 0], [-1, 2]])
def test_refuses_epochs_that_do_not_fit(given, epochs):
    with pytest.raises(UserError, match="for 3 stages; give a number of at least 1 for each"):
        Stages([given({}) for _ in range(3)], epochs)
