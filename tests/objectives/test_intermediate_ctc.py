"""CTC at sparse checkpoints: which loops, their mean, and its two extremes."""

from types import SimpleNamespace

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.schedule import bicycle, cycle, latent
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.intermediate_ctc import IntermediateCTC

ROWS, FRAMES = [[1, 2], [3, 3], [2]], [5, 4, 6]


@pytest.fixture
def exits_of(make_case):
    """``exits_of(steps)``: outputs with an exit after each of the steps, and their batch."""

    def build(steps):
        cases = {step: make_case(ROWS, FRAMES, seed=step) for step in steps}
        outputs, batch = cases[steps[-1]]
        exits = {step: case[0].log_probs for step, case in cases.items()}
        return SimpleNamespace(log_probs=outputs.log_probs, frames=outputs.frames, exits=exits), batch

    return build


@pytest.mark.parametrize(
    ("interval", "loops"), [(1, range(1, 13)), (3, (3, 6, 9, 12)), (4, (4, 8, 12)), (12, (12,))]
)
def test_supervises_the_loops_that_the_interval_divides(interval, loops):
    objective = IntermediateCTC(12, interval)
    assert objective.exits(cycle(4, 12)) == tuple(4 * n - 1 for n in loops)
    assert objective.exits(latent(2, 12, 3, 1)) == tuple(3 + 2 * n - 1 for n in loops)


def test_a_step_of_another_number_of_loops_is_supervised_at_its_last():
    objective = IntermediateCTC(12, 4)
    assert objective.exits(cycle(1, 12).with_loops(10)) == (3, 7, 9)
    assert objective.exits(cycle(1, 12).with_loops(3)) == (2,)
    assert objective.exits(cycle(1, 12).with_loops(8)) == (3, 7)


def test_the_block_can_be_another():
    schedule = bicycle(2, 3, 2, 4)
    assert IntermediateCTC(4, 2, block="linguistic").exits(schedule) == schedule.ends(
        "linguistic", every=2
    )


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_is_the_mean_of_the_exits_losses(exits_of, reduction):
    outputs, batch = exits_of([3, 7, 11])
    expected = [CTC(reduction).loss(each, outputs.frames, batch) for each in outputs.exits.values()]
    assert len({float(each) for each in expected}) == 3
    seen = IntermediateCTC(12, 4, reduction=reduction)(outputs, batch)
    assert list(seen) == ["ctc"]
    torch.testing.assert_close(seen["ctc"], torch.stack(expected).mean())


def test_final_only_is_plain_ctc_to_the_bit(exits_of):
    objective = IntermediateCTC(12, 12)
    outputs, batch = exits_of(objective.exits(cycle(1, 12)))
    assert list(outputs.exits) == [11]
    sparse, plain = objective(outputs, batch)["ctc"], CTC()(outputs, batch)["ctc"]
    assert torch.equal(sparse, plain)
    log_probs = outputs.log_probs
    assert torch.equal(*(torch.autograd.grad(loss, log_probs)[0] for loss in (sparse, plain)))


def test_gradients_reach_every_exit(exits_of):
    outputs, batch = exits_of([0, 1, 2])
    IntermediateCTC(3, 1)(outputs, batch)["ctc"].backward()
    assert all(each.grad.abs().sum() > 0 for each in outputs.exits.values())


def test_an_impossible_utterance_is_counted_once_however_many_exits(make_case):
    outputs, batch = make_case([[1, 1, 1], [2]], [3, 4])
    outputs.exits = dict.fromkeys(range(3), outputs.log_probs)
    objective = IntermediateCTC(3, 1)
    objective(outputs, batch)
    assert objective.impossible == 1


@pytest.mark.parametrize("interval", [5, 24, 0, -4])
def test_refuses_an_interval_that_does_not_divide_the_loops(interval):
    with pytest.raises(UserError) as caught:
        IntermediateCTC(12, interval)
    assert str(caught.value) == (
        f"interval: {interval} does not divide the training budget of 12 loops; "
        "choose among 1, 2, 3, 4, 6, 12"
    )
