"""The weighted sum: from YAML, with gradient to both parts; what it asks for."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.nn.schedule import cycle
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.intermediate_ctc import IntermediateCTC
from speechbrain_recursive.objectives.joint import Joint
from speechbrain_recursive.objectives.seq2seq import Seq2Seq

YAML = """
ctc_weight: 0.3
objective: !new:speechbrain_recursive.objectives.joint.Joint
    weights:
        ctc: !ref <ctc_weight>
        seq2seq: !ref 1 - <ctc_weight>
    objectives:
        - !new:speechbrain_recursive.objectives.ctc.CTC
        - !new:speechbrain_recursive.objectives.seq2seq.Seq2Seq
            label_smoothing: 0.2
"""


def test_from_yaml_with_gradient_to_both_parts(make_case):
    outputs, batch = make_case([[1, 2], [2]], [4, 3])
    parts = load_hyperpyyaml(YAML)["objective"](outputs, batch)
    total = parts["loss"]
    total.backward()
    ctc = CTC()(outputs, batch)["ctc"]
    seq2seq = Seq2Seq(0.2)(outputs, batch)["seq2seq"]
    assert torch.allclose(total, 0.3 * ctc + 0.7 * seq2seq)
    assert torch.equal(parts["ctc"], ctc)
    assert torch.equal(parts["seq2seq"], seq2seq)
    assert outputs.log_probs.grad.ne(0).any()
    assert outputs.decoded.grad.ne(0).any()


def test_a_part_of_weight_zero_is_only_reported(given):
    parts = {"a": torch.tensor(2.0), "b": torch.tensor(float("inf"))}
    reported = Joint([given(parts)], {"a": 0.5, "b": 0.0})(None, None)
    assert reported == {**parts, "loss": 1.0}


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (1, {"a": 1.0, "b": 1.0}, "given for a, b, but the objectives are a"),
        (1, {}, "given for nothing, but the objectives are a"),
        (2, {"a": 1.0}, "two of them are called a"),
    ],
)
def test_names_and_weights_must_match(given, count, weights, message):
    objectives = [given({"a": torch.tensor(1.0)}) for _ in range(count)]
    with pytest.raises(UserError, match=message):
        Joint(objectives, weights)(None, None)


def test_needs_what_any_of_them_needs(given):
    depth = Depth(cycle(1, 4))
    first = depth.stop("recurrent", 1)
    requests = [
        Request(["ctc"], exits={first: Request(["ctc"])}),
        Request(taps=[2], exits={first: Request(["seq2seq"])}, teachers={"big": Request()}),
    ]
    joint = Joint([given({}, request) for request in requests], {})
    assert joint.needs(depth) == requests[0] | requests[1]
    assert Joint([], {}).needs(depth) == Request()


def test_tells_every_objective_of_the_epoch(given):
    objectives = [given({}), given({})]
    Joint(objectives, {}).start_epoch(7)
    assert [objective.epochs for objective in objectives] == [[7], [7]]


def test_parameters_of_objectives_are_its_own(given):
    joint = Joint([given({}), given({})], {})
    assert list(joint.state_dict()) == ["objectives.0.scale", "objectives.1.scale"]


def test_beside_another_objective_that_asks_for_exits(make_case, given):
    """Each reads its own: the other's have no log-posteriors here."""
    schedule = cycle(1, 4)
    depth = Depth(schedule)
    sparse = IntermediateCTC(schedule, 2)
    other = given({"other": torch.tensor(1.0)}, Request(exits={depth.stop("recurrent", 1): Request()}))
    joint = Joint([sparse, other], {"ctc": 1.0, "other": 1.0})
    outputs, batch = make_case([[1, 2], [2]], [4, 3])
    outputs.depth = depth
    for count in (1, 2, 4):
        exit = depth.stop("recurrent", count)
        heads = {"ctc": make_case([[1, 2], [2]], [4, 3], seed=count)[0].log_probs}
        outputs.exits[exit] = Outputs(outputs.states, exit, {} if count == 1 else heads)
    assert joint.needs(depth).exits.keys() == outputs.exits.keys()
    losses = [CTC()(exit, batch)["ctc"] for exit in list(outputs.exits.values())[1:]]
    torch.testing.assert_close(joint(outputs, batch)["ctc"], sum(losses) / 2)
