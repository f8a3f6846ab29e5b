"""Label-smoothed loss against its formula, padding, types."""

import math

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import cycle
from speechbrain_recursive.objectives.seq2seq import Seq2Seq

ROWS, FRAMES = [[1, 2], [2, 1, 2, 2], [1]], [2, 4, 2]


def divergence(log_probs, target, smoothing):
    """KL from the smoothed target to the prediction, summed over classes one by one."""
    classes = len(log_probs)
    total = 0.0
    for token, log_p in enumerate(log_probs.double().tolist()):
        p = 1 - smoothing if token == target else smoothing / (classes - 1)
        total += p * (math.log(p) - log_p) if p else 0.0
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_equals_the_formula(make_case, smoothing):
    outputs, batch = make_case(ROWS, FRAMES, classes=5)
    expected = [
        sum(
            divergence(outputs.decoded[i, u].detach(), token, smoothing)
            for u, token in enumerate([*row, 4])
        )
        for i, row in enumerate(ROWS)
    ]
    loss = Seq2Seq(smoothing)(outputs, batch)["seq2seq"]
    assert float(loss) == pytest.approx(sum(expected) / 3, rel=1e-5)
    per_token = [loss / (len(row) + 1) for loss, row in zip(expected, ROWS, strict=True)]
    mean = Seq2Seq(smoothing, reduction="mean")(outputs, batch)["seq2seq"]
    assert float(mean) == pytest.approx(sum(per_token) / 3, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_padding_changes_neither_loss_nor_gradient(make_case, single, smoothing):
    outputs, batch = make_case(ROWS, FRAMES)
    objective = Seq2Seq(smoothing)
    together = objective(outputs, batch)["seq2seq"]
    together.backward()
    alone = []
    for i, row in enumerate(ROWS):
        part, one = single(outputs, batch, i)
        alone.append(objective(part, one)["seq2seq"])
        alone[-1].backward()
        gradient = outputs.decoded.grad[i]
        assert torch.allclose(gradient[: len(row) + 1] * 3, part.decoded.grad[0], atol=1e-6)
        assert gradient[: len(row) + 1].ne(0).any()
        assert gradient[len(row) + 1 :].eq(0).all()
    assert torch.allclose(together, torch.stack(alone).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_token_zero_is_a_token(make_case, smoothing):
    outputs, batch = make_case([[0, 1]], [2])
    Seq2Seq(smoothing)(outputs, batch)["seq2seq"].backward()
    assert outputs.decoded.grad[0, 0].ne(0).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_half_precision_is_promoted(make_case, dtype, smoothing):
    outputs, batch = make_case(ROWS, FRAMES)
    outputs.heads["seq2seq"] = outputs.decoded.detach().to(dtype).requires_grad_()
    loss = Seq2Seq(smoothing)(outputs, batch)["seq2seq"]
    loss.backward()
    assert loss.dtype == torch.float32
    outputs.heads["seq2seq"] = outputs.decoded.detach().float()
    assert torch.equal(loss.detach(), Seq2Seq(smoothing)(outputs, batch)["seq2seq"])


def test_needs_its_head():
    """A model without a decoder refuses the request: see tests/nn/test_model.py."""
    assert Seq2Seq().needs(Depth(cycle(1, 2))) == Request(["seq2seq"])


@pytest.mark.parametrize("smoothing", [1.0, -0.1])
def test_wrong_settings_are_refused(smoothing):
    with pytest.raises(UserError, match=f"label_smoothing: {smoothing}"):
        Seq2Seq(smoothing)
