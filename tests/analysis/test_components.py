"""Principal components against the eigenvectors of the covariance."""

import numpy as np
import pytest
import torch

from speechbrain_recursive.analysis.components import (
    components_table,
    principal_components,
    utterance_means,
)
from speechbrain_recursive.errors import UserError


def states(count=5, steps=4, width=7, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(count, steps, width)) * np.linspace(3, 0.1, width) + draw.normal(size=width)


def test_against_the_covariance():
    given = states()
    found = principal_components(given)
    flat = given.reshape(-1, 7)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    order = values.argsort()[::-1][:3]
    np.testing.assert_allclose(found.explained, values[order] / values.sum())
    expected = (flat - flat.mean(0)) @ vectors[:, order]
    np.testing.assert_allclose(np.abs(found.points.reshape(-1, 3)), np.abs(expected), atol=1e-9)
    assert (found.points.max((0, 1)) >= -found.points.min((0, 1))).all()


def test_a_shift_and_a_rotation_change_nothing():
    given = states()
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))
    moved = principal_components(given @ rotation + 10.0)
    found = principal_components(given)
    np.testing.assert_allclose(moved.points, found.points, atol=1e-9)
    np.testing.assert_allclose(moved.distance, found.distance)


def test_layers_that_stand_apart():
    """The first and the last step are far from the others, in a dimension of their own each."""
    given = 0.1 * states(steps=8, width=20)
    given[:, 0, 5] += 10.0
    given[:, 7, 6] -= 10.0
    found = principal_components(given)
    assert sorted(found.distance.argsort()[-2:]) == [0, 7]
    assert found.distance[[0, 7]].min() > 4
    assert np.median(found.distance) == pytest.approx(1.0)
    assert found.explained[:2].sum() > 0.9
    assert found.explained[2] < 0.05


def test_distance_is_from_the_mean_of_the_others():
    given = np.array([[[0.0, 0.0], [2.0, 0.0], [4.0, 3.0]]])
    others = np.array([[3.0, 1.5], [2.0, 1.5], [1.0, 0.0]])
    expected = np.linalg.norm(given[0] - others, axis=1)
    found = principal_components(given).distance
    np.testing.assert_allclose(found, expected / np.median(expected))


@pytest.mark.parametrize(("count", "steps", "width"), [(1, 1, 4), (1, 2, 4), (3, 2, 1)])
def test_fewer_dimensions_than_three(count, steps, width):
    found = principal_components(states(count, steps, width))
    assert found.points.shape == (count, steps, 3)
    assert np.isfinite(found.points).all()
    assert np.isfinite(found.distance).all()
    assert found.explained.sum() == pytest.approx(1.0 if count * steps > 1 else 0.0)


def test_means_over_frames():
    utterances = [torch.rand(3, frames, 5) for frames in (1, 7)]
    found = utterance_means(utterances)
    expected = torch.stack([utterances[0][:, 0], utterances[1].sum(1) / 7])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_audio_is_named():
    with pytest.raises(UserError, match="no audio"):
        utterance_means([])


def test_table():
    given = np.zeros((2, 3, 8))
    given[..., 2] = 0, 3, 9
    table = components_table(principal_components(given), ["0", "1/0", "1/1"]).splitlines()
    assert table[0] == "| step | layer |   PC1 |  PC2 |  PC3 | distance |"
    assert table[2] == "| 1    |     0 | -4.00 | 0.00 | 0.00 |     1.00 |"
    assert table[-1] == "Explained variance: 100.0%, 0.0%, 0.0%; together 100.0%"
