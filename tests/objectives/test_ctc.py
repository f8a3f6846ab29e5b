"""CTC against all alignments written out, padding, impossible utterances, types."""

import itertools
import math

import pytest
import torch
from speechbrain.nnet.losses import ctc_loss

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import cycle
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.lengths import token_counts

ROWS, FRAMES = [[1, 2], [3, 3], [2], []], [5, 4, 6, 2]


def collapse(path):
    return [token for token, _ in itertools.groupby(path) if token != 0]


def enumerated(log_probs, tokens):
    """-log of the summed probability of every path that collapses to the tokens."""
    log_probs = log_probs.double()
    paths = itertools.product(range(log_probs.shape[1]), repeat=len(log_probs))
    total = sum(
        math.exp(sum(float(log_probs[t, token]) for t, token in enumerate(path)))
        for path in paths
        if collapse(path) == tokens
    )
    return -math.log(total)


def test_equals_the_sum_over_all_alignments(make_case):
    outputs, batch = make_case(ROWS, FRAMES)
    expected = [
        enumerated(outputs.log_probs[i, :frames], row)
        for i, (row, frames) in enumerate(zip(ROWS, FRAMES, strict=True))
    ]
    total = CTC()(outputs, batch)["ctc"]
    assert float(total) == pytest.approx(sum(expected) / 4, rel=1e-5)
    per_token = [loss / max(1, len(row)) for loss, row in zip(expected, ROWS, strict=True)]
    mean = CTC(reduction="mean")(outputs, batch)["ctc"]
    assert float(mean) == pytest.approx(sum(per_token) / 4, rel=1e-5)


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_reductions_are_those_of_speechbrain(make_case, reduction):
    outputs, batch = make_case([[1, 2], [3, 3]], [4, 4])
    theirs = ctc_loss(
        outputs.log_probs,
        batch.tokens.data,
        torch.ones(2),
        batch.tokens.lengths,
        blank_index=0,
        reduction=reduction,
    )
    assert torch.allclose(CTC(reduction)(outputs, batch)["ctc"], theirs)
    with pytest.raises(UserError, match="sum: choose batchmean or mean"):
        CTC("sum")(outputs, batch)


def test_padding_changes_neither_loss_nor_gradient(make_case, single):
    outputs, batch = make_case(ROWS, FRAMES, extra_frames=3)
    together = CTC()(outputs, batch)["ctc"]
    together.backward()
    alone = []
    for i, frames in enumerate(FRAMES):
        part, one = single(outputs, batch, i)
        alone.append(CTC()(part, one)["ctc"])
        alone[-1].backward()
        gradient = outputs.log_probs.grad[i]
        assert torch.allclose(gradient[:frames] * len(ROWS), part.log_probs.grad[0], atol=1e-6)
        assert gradient[frames:].eq(0).all()
    assert torch.allclose(together, torch.stack(alone).mean())


def test_every_count_of_tokens_survives_the_relative_lengths(make_case):
    for width in (7, 50, 613):
        rows = [[1] * n for n in range(1, width + 1)]
        _, batch = make_case(rows, [1])
        assert token_counts(batch.tokens).tolist() == list(range(1, width + 1))


def test_an_impossible_utterance_is_left_out_and_named_once(make_case, single, caplog):
    outputs, batch = make_case([[1, 2], [3, 3, 3], [1, 2, 3, 1]], [4, 4, 3])
    objective = CTC()
    loss = objective(outputs, batch)["ctc"]
    loss.backward()
    possible = CTC()(*single(outputs, batch, 0))["ctc"]
    assert torch.allclose(loss * 3, possible)
    assert outputs.log_probs.grad[0].ne(0).any()
    assert outputs.log_probs.grad[1:].eq(0).all()
    objective(outputs, batch)
    assert objective.impossible == 4
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "utt1 needs 5 frames for its tokens and has 4" in warnings[0]


def test_a_repeat_in_the_padding_is_no_repeat(make_case):
    outputs, batch = make_case([[1], [1, 2, 3, 2]], [1, 4])
    objective = CTC()
    objective(outputs, batch)
    assert objective.impossible == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_promoted(make_case, dtype):
    outputs, batch = make_case(ROWS, FRAMES)
    outputs.heads["ctc"] = outputs.log_probs.detach().to(dtype).requires_grad_()
    loss = CTC()(outputs, batch)["ctc"]
    loss.backward()
    assert loss.dtype == torch.float32
    outputs.heads["ctc"] = outputs.log_probs.detach().float()
    assert torch.equal(loss.detach(), CTC()(outputs, batch)["ctc"])


def test_needs_its_head():
    assert CTC().needs(Depth(cycle(1, 2))) == Request(["ctc"])
