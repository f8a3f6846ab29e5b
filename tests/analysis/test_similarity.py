"""Similarity against a plain loop, and proposals against a search of all schedules."""

import itertools

import numpy as np
import pytest
import torch

from speechbrain_recursive.analysis.similarity import (
    layer_similarity,
    propose,
    recurrent_shapes,
    similarity_table,
)
from speechbrain_recursive.errors import UserError


def test_mean_over_frames_not_over_utterances():
    torch.manual_seed(0)
    utterances = [torch.randn(3, frames, 5) for frames in (1, 4, 20)]
    expected = np.zeros((3, 3))
    for i, j in itertools.product(range(3), repeat=2):
        cosines = [
            float(a @ b / (a.norm() * b.norm()))
            for u in utterances
            for a, b in zip(u[i], u[j], strict=True)
        ]
        expected[i, j] = sum(cosines) / 25
    np.testing.assert_allclose(layer_similarity(utterances), expected, atol=1e-6)


def test_no_audio_is_named():
    with pytest.raises(UserError, match="no audio"):
        layer_similarity([])


def blocks(n, start, stop, inside=0.9, near=0.3):
    """Layers from start to stop are similar; for the others similarity decreases with distance."""
    similarity = near ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    similarity[start:stop, start:stop] = inside
    np.fill_diagonal(similarity, 1.0)
    return similarity


def test_the_papers_encoder():
    """24 layers, two at either end unlike the middle, and 66% to save give the paper's row L1."""
    proposal = propose(blocks(24, 2, 22), saving=0.66)
    assert str(proposal.schedule) == "0-1 | (2-5)x5 | 6-7"
    assert proposal.overrides == "--n_prelude 2 --n_recurrent 4 --loops 5 --n_coda 2"
    assert proposal.saving == pytest.approx(16 / 24)
    assert proposal.similarity == pytest.approx(0.9)


def test_edges_follow_the_similarity():
    proposal = propose(blocks(12, 4, 12), saving=0.33)
    assert (proposal.n_prelude, proposal.n_recurrent, proposal.loops, proposal.n_coda) == (4, 4, 2, 0)


def test_against_all_schedules():
    draw = np.random.default_rng(2)
    for saving in (0.2, 0.4, 0.6):
        half = draw.random((9, 9))
        similarity = (half + half.T) / 2
        best = -1.0
        for prelude, size, loops in itertools.product(range(9), range(1, 10), range(2, 6)):
            coda = 9 - prelude - size * loops
            kept = prelude + size + coda
            if coda < 0 or 1 - kept / 9 < saving:
                continue
            middle = range(prelude, prelude + size * loops)
            pairs = [similarity[i, j] for i in middle for j in middle if i != j]
            best = max(best, sum(pairs) / len(pairs))
        proposal = propose(similarity, saving)
        assert proposal.similarity == pytest.approx(best)
        assert len(proposal.schedule) == 9
        assert 1 - proposal.schedule.n_layers / 9 == pytest.approx(proposal.saving)
        assert proposal.saving >= saving


@pytest.mark.parametrize("saving", [0.0, -0.5, 0.81, 1.0])
def test_savings_that_cannot_be(saving):
    with pytest.raises(UserError, match=r"of 10 layers, .* at most 0.80 can be saved"):
        recurrent_shapes(10, saving)


def test_exact_savings_are_reached():
    assert (1, 5) in recurrent_shapes(10, 0.4)
    assert recurrent_shapes(10, 0.8) == [(2, 5)]


def test_table_names_rows_and_columns():
    table = similarity_table(np.array([[1.0, 0.256], [0.256, 1.0]]), ["0", "1/0"])
    assert table.splitlines()[0] == "| layer |    0 |  1/0 |"
    assert table.splitlines()[3] == "| 1/0   | 0.26 | 1.00 |"
