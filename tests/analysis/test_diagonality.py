"""CAD against the integral that defines it, one utterance and head at a time."""

import numpy as np
import pytest
import torch

from speechbrain_recursive.analysis.diagonality import (
    diagonality,
    diagonality_table,
    mean_diagonality,
)
from speechbrain_recursive.errors import UserError


def attention(*shape, seed=0):
    """Random weights whose rows sum to 1."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).pow(4).softmax(-1)


def integral(weights, points=20001):
    """CAD of a head [T, T]: the trapezoidal rule over the share of attention within r (T - 1)."""
    time = len(weights)
    distance = np.abs(np.subtract.outer(np.arange(time), np.arange(time)))
    weights = weights / weights.sum(1, keepdims=True)
    radii = np.linspace(0, 1, points)
    inside = [weights[distance <= r * (time - 1) + 1e-9].sum() / time for r in radii]
    return np.trapezoid(inside, radii)


@pytest.mark.parametrize("time", [2, 3, 8])
def test_is_the_integral_of_the_attention_within_a_distance(time):
    weights = attention(2, 3, time, time).double()
    found = diagonality(weights)
    expected = [[integral(head.numpy()) for head in row] for row in weights]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_extremes():
    eye = torch.eye(50)[None, None]
    assert diagonality(eye) == 1.0
    corners = torch.zeros(1, 1, 2, 2)
    corners[..., 0, 1] = corners[..., 1, 0] = 1.0
    assert diagonality(corners) == 0.0
    assert diagonality(torch.ones(1, 1, 500, 500) / 500).item() == pytest.approx(2 / 3, abs=1e-3)
    assert diagonality(torch.ones(1, 1, 1, 1)) == 1.0


def test_a_batch_is_its_utterances_one_by_one():
    """Queries of padding are left out, and attention to padding too; rows are normalized again."""
    frames = torch.tensor([9, 5, 2, 1])
    weights = attention(4, 2, 9, 9)
    found = diagonality(weights, frames)
    for row, n in enumerate(frames):
        alone = weights[row : row + 1, :, :n, :n]
        torch.testing.assert_close(found[row], diagonality(alone)[0])
        torch.testing.assert_close(found[row], diagonality(alone / alone.sum(-1, keepdim=True))[0])
    weights[1, :, 5:] = torch.nan  # what a stock layer gives where nothing may be attended to
    torch.testing.assert_close(diagonality(weights, frames), found)


def test_a_row_without_attention_counts_zero():
    weights = torch.eye(4)
    weights[2] = 0.0
    assert diagonality(weights[None, None]) == 0.75


def test_mean_over_utterances_not_over_frames():
    utterances = [attention(3, 2, n, n, seed=n) for n in (2, 9)]
    expected = (diagonality(utterances[0]) + diagonality(utterances[1])) / 2
    np.testing.assert_allclose(mean_diagonality(utterances), expected, atol=1e-6)


def test_no_audio_is_named():
    with pytest.raises(UserError, match="no audio"):
        mean_diagonality([])


def test_table():
    table = diagonality_table(np.array([[0.5, 0.7], [0.9, 0.9]]), ["0", "1/0"]).splitlines()
    assert table[0] == "| step | layer |  mean | least | largest |"
    assert table[2:] == [
        "| 1    |     0 | 0.600 | 0.500 |   0.700 |",
        "| 2    |   1/0 | 0.900 | 0.900 |   0.900 |",
    ]
