"""The weighted sum, from YAML, with gradient to both parts."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.objectives.ctc import CTC
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
    total, parts = load_hyperpyyaml(YAML)["objective"](outputs, batch)
    total.backward()
    ctc = CTC()(outputs, batch)["ctc"]
    seq2seq = Seq2Seq(0.2)(outputs, batch)["seq2seq"]
    assert torch.allclose(total, 0.3 * ctc + 0.7 * seq2seq)
    assert torch.equal(parts["ctc"], ctc)
    assert torch.equal(parts["seq2seq"], seq2seq)
    assert outputs.log_probs.grad.ne(0).any()
    assert outputs.decoded.grad.ne(0).any()


def test_a_part_of_weight_zero_is_only_reported():
    parts = {"a": torch.tensor(2.0), "b": torch.tensor(float("inf"))}
    total, reported = Joint([lambda outputs, batch: parts], {"a": 0.5, "b": 0.0})(None, None)
    assert total == 1.0
    assert reported == parts


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (1, {"a": 1.0, "b": 1.0}, "given for a, b, but the objectives are a"),
        (1, {}, "given for nothing, but the objectives are a"),
        (2, {"a": 1.0}, "two of them are called a"),
    ],
)
def test_names_and_weights_must_match(count, weights, message):
    objectives = [lambda outputs, batch: {"a": torch.tensor(1.0)}] * count
    with pytest.raises(UserError, match=message):
        Joint(objectives, weights)(None, None)
