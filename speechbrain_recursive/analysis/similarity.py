"""Similarity of the outputs of an encoder's layers, and which layers a recurrent block could replace.

Section 3 of "Rethinking Depth" measures Whisper-medium: its middle layers are similar to each other and
the first and last ones are not, which motivates prelude, recurrent block and coda.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.schedule import Schedule, latent


def layer_similarity(utterances: Iterable[torch.Tensor]) -> np.ndarray:
    """Cosine similarity of the outputs of every two layers, averaged over all frames.

    Arguments
    ---------
    utterances : iterable of torch.Tensor
        The outputs of N layers for each utterance, at its T real frames without padding [N, T, d].

    Returns
    -------
    numpy.ndarray
        [N, N], symmetric, with ones on the diagonal.

    Raises
    ------
    UserError
        If there is no utterance.

    Example
    -------
    >>> one = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 0.0]]])
    >>> layer_similarity([one])
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    total, frames = 0.0, 0
    for outputs in utterances:
        directions = torch.nn.functional.normalize(outputs.double(), dim=-1).flatten(1)
        total = total + directions @ directions.T
        frames += outputs.shape[1]
    if not frames:
        raise UserError("there is no audio to measure the layers on")
    return (total / frames).cpu().numpy()


@dataclass(frozen=True)
class Proposal:
    """A latent-recursive encoder to replace one without shared layers.

    Arguments
    ---------
    n_prelude, n_recurrent, loops, n_coda : int
        See :func:`speechbrain_recursive.nn.schedule.latent`.
    similarity : float
        Mean similarity between the layers that the recurrent block replaces.
    saving : float
        Fraction of the layers' parameters that is saved.
    """

    n_prelude: int
    n_recurrent: int
    loops: int
    n_coda: int
    similarity: float
    saving: float

    @property
    def schedule(self) -> Schedule:
        """The proposed schedule."""
        return latent(self.n_recurrent, self.loops, self.n_prelude, self.n_coda)

    @property
    def overrides(self) -> str:
        """Command-line options that make a latent recipe train it."""
        return (
            f"--n_prelude {self.n_prelude} --n_recurrent {self.n_recurrent} "
            f"--loops {self.loops} --n_coda {self.n_coda}"
        )


def recurrent_shapes(n: int, saving: float, max_loops: int = 5) -> list[tuple[int, int]]:
    """List the recurrent blocks that save enough parameters.

    Arguments
    ---------
    n : int
        Number of layers of the encoder.
    saving : float
        Least fraction of their parameters to save, above 0.
    max_loops : int
        Highest loop count.

    Returns
    -------
    list of (int, int)
        Number of layers of the block, and its loop count.

    Raises
    ------
    UserError
        If that much cannot be saved.

    Example
    -------
    >>> recurrent_shapes(6, saving=0.5)
    [(3, 2), (2, 3), (1, 4), (1, 5)]
    """
    shapes = [(size, loops) for loops in range(2, max_loops + 1) for size in range(1, n // loops + 1)]
    most = max((size * (loops - 1) for size, loops in shapes), default=0)
    least = saving * n - 1e-9
    if saving <= 0 or least > most:
        raise UserError(
            f"--saving {saving:g}: of {n} layers, with at most {max_loops} loops, "
            f"more than 0 and at most {most / n:.2f} can be saved"
        )
    return [(size, loops) for size, loops in shapes if size * (loops - 1) >= least]


def propose(similarity: np.ndarray, saving: float, max_loops: int = 5) -> Proposal:
    """Propose prelude, recurrent block and coda.

    Of N layers, m = n_R L contiguous ones become a block of n_R layers that loops L times, 2 <= L <=
    ``max_loops``. The depth stays N, and N - m + n_R physical layers remain, which saves (m - n_R) / N.
    Of all proposals that save enough, the one with the highest mean similarity between the m layers is
    chosen, and of equally similar ones the one that keeps the most layers. The loop count is limited
    because one layer looped often would nearly always win: adjacent layers are the most similar. The
    paper's error rates are best at 5 loops.

    Arguments
    ---------
    similarity : numpy.ndarray
        [N, N], from :func:`layer_similarity`.
    saving : float
        Least fraction of the layers' parameters to save, above 0.
    max_loops : int
        Highest loop count of the recurrent block, at least 2.

    Returns
    -------
    Proposal

    Raises
    ------
    UserError
        If that much cannot be saved.

    Example
    -------
    >>> alike = np.eye(6)
    >>> alike[1:5, 1:5] = 0.9
    >>> proposal = propose(alike, saving=0.33)
    >>> str(proposal.schedule), proposal.overrides
    ('0 | (1-2)x2 | 3', '--n_prelude 1 --n_recurrent 2 --loops 2 --n_coda 1')
    """
    n = len(similarity)
    candidates = []
    for size, loops in recurrent_shapes(n, saving, max_loops):
        m = size * loops
        for start in range(n - m + 1):
            block = similarity[start : start + m, start : start + m]
            mean = float((block.sum() - np.trace(block)) / (m * (m - 1)))
            candidates.append(Proposal(start, size, loops, n - start - m, mean, (m - size) / n))
    return max(candidates, key=lambda proposal: (round(proposal.similarity, 9), -proposal.saving))


def similarity_table(similarity: np.ndarray, labels: Sequence[str]) -> str:
    """Format similarities as a Markdown table.

    Arguments
    ---------
    similarity : numpy.ndarray
        [N, N].
    labels : sequence of str
        Names of the N layers.

    Returns
    -------
    str
    """
    lines = [[name, *(f"{x:.2f}" for x in row)] for name, row in zip(labels, similarity, strict=True)]
    return markdown_table(["layer", *labels], lines)
