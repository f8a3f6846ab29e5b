"""CTC at several loops: which ones, their mean, and its two extremes."""

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.nn.schedule import bicycle, cycle, latent, standard
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.intermediate_ctc import IntermediateCTC

ROWS, FRAMES = [[1, 2], [3, 3], [2]], [5, 4, 6]


@pytest.fixture
def exits_of(make_case):
    """``exits_of(objective, depth)``: outputs with the exits that it needs, and their batch."""

    def build(objective, depth):
        outputs, batch = make_case(ROWS, FRAMES)
        outputs.depth = depth
        for seed, (exit, request) in enumerate(objective.needs(depth).exits.items()):
            assert request == Request(["ctc"])
            heads = make_case(ROWS, FRAMES, seed=seed)[0].heads
            outputs.exits[exit] = Outputs(outputs.states, exit, heads)
        outputs.heads = heads  # the last one's
        return outputs, batch

    return build


def supervised(objective, depth):
    """Loop counts of the exits."""
    return [exit.schedule.loops[objective.block] for exit in objective.needs(depth).exits]


@pytest.mark.parametrize(
    ("interval", "loops"), [(1, range(1, 13)), (3, (3, 6, 9, 12)), (4, (4, 8, 12)), (12, (12,))]
)
@pytest.mark.parametrize("schedule", [cycle(4, 12), latent(2, 12, 3, 1)], ids=str)
def test_supervises_the_loops_that_the_interval_divides(schedule, interval, loops):
    objective, depth = IntermediateCTC(schedule, interval), Depth(schedule)
    assert supervised(objective, depth) == list(loops)
    request = objective.needs(depth)
    assert list(request.exits) == [depth.stop("recurrent", n) for n in loops]
    assert list(request.exits)[-1] == depth
    assert not request.heads, "the exits have them"


@pytest.mark.parametrize(
    ("made", "loops"), [(10, [4, 8, 10]), (3, [3]), (8, [4, 8]), (14, [4, 8, 12, 14])]
)
def test_a_step_of_another_number_of_loops_is_supervised_at_its_last(made, loops):
    schedule = cycle(1, 12)
    assert supervised(IntermediateCTC(schedule, 4), Depth.of(schedule, made)) == loops


def test_a_step_of_a_count_per_row():
    schedule = cycle(1, 4)
    depth = Depth.of(schedule, [1, 4, 3])
    exits = list(IntermediateCTC(schedule, 2).needs(depth).exits)
    assert exits == [Depth.of(schedule, [1, 2, 2]), depth]


def test_the_block_can_be_another():
    schedule = bicycle(2, 3, 2, 4)
    objective = IntermediateCTC(schedule, 2, block="linguistic")
    assert supervised(objective, Depth(schedule)) == [2, 4]
    assert all(exit.schedule.loops["phonetic"] == 2 for exit in objective.needs(Depth(schedule)).exits)
    rows = Depth.of(schedule, {"linguistic": [4, 2], "phonetic": [1, 2]})
    assert list(objective.needs(rows).exits)[-1] == rows


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_is_the_mean_of_the_exits_losses(exits_of, reduction):
    objective = IntermediateCTC(cycle(1, 12), 4, reduction=reduction)
    outputs, batch = exits_of(objective, Depth(cycle(1, 12)))
    expected = [CTC(reduction)(each, batch)["ctc"] for each in outputs.exits.values()]
    assert len({float(each) for each in expected}) == 3
    seen = objective(outputs, batch)
    assert list(seen) == ["ctc"]
    torch.testing.assert_close(seen["ctc"], torch.stack(expected).mean())


def test_final_only_is_plain_ctc_to_the_bit(exits_of):
    objective = IntermediateCTC(cycle(1, 12), 12)
    outputs, batch = exits_of(objective, Depth(cycle(1, 12)))
    assert list(outputs.exits) == [Depth(cycle(1, 12))]
    sparse, plain = objective(outputs, batch)["ctc"], CTC()(outputs, batch)["ctc"]
    assert torch.equal(sparse, plain)
    log_probs = outputs.log_probs
    assert torch.equal(*(torch.autograd.grad(loss, log_probs)[0] for loss in (sparse, plain)))


def test_gradients_reach_every_exit(exits_of):
    objective = IntermediateCTC(cycle(1, 3), 1)
    outputs, batch = exits_of(objective, Depth(cycle(1, 3)))
    objective(outputs, batch)["ctc"].backward()
    assert len(outputs.exits) == 3
    assert all(each.log_probs.grad.abs().sum() > 0 for each in outputs.exits.values())


def test_an_impossible_utterance_is_counted_once_however_many_exits(make_case):
    outputs, batch = make_case([[1, 1, 1], [2]], [3, 4])
    objective = IntermediateCTC(cycle(1, 3), 1)
    outputs.exits = dict.fromkeys(objective.needs(outputs.depth).exits, outputs)
    assert len(outputs.exits) == 3
    objective(outputs, batch)
    assert objective.impossible == 1


@pytest.mark.parametrize("interval", [5, 24, 0, -4])
def test_refuses_an_interval_that_does_not_divide_the_loops(interval):
    with pytest.raises(UserError) as caught:
        IntermediateCTC(latent(2, 12, 1, 1), interval)
    assert str(caught.value) == (
        f"interval: {interval} does not divide the training budget of 12 loops; "
        "choose among 1, 2, 3, 4, 6, 12"
    )


@pytest.mark.parametrize(
    ("schedule", "block"),
    [(standard(4), "recurrent"), (latent(2, 4, 1, 1), "coda"), (bicycle(2, 3, 2, 2), "recurrent")],
)
def test_refuses_a_block_that_does_not_recur(schedule, block):
    with pytest.raises(UserError, match=f"no block '{block}' recurs in the schedule") as caught:
        IntermediateCTC(schedule, 1, block=block)
    assert str(schedule) in str(caught.value)
