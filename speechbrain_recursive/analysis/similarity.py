"""How alike the outputs of an encoder's layers are, and which of them one recurrent block could be.

Section 3 of "Rethinking Depth", which measures Whisper-medium: its middle layers are alike, those at the
edges are not, hence prelude, recurrent block and coda.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.schedule import Schedule, latent


def layer_similarity(utterances: Iterable[torch.Tensor]) -> np.ndarray:
    """Cosine similarity of each layer's output with each other's, mean over all frames.

    Arguments
    ---------
    utterances : iterable of torch.Tensor
        Of each utterance the outputs [N, T, d] of N layers at its T real frames, without padding.

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
    """A latent-recursive encoder in place of one whose layers are all different.

    Arguments
    ---------
    n_prelude, n_recurrent, loops, n_coda : int
        As `speechbrain_recursive.nn.schedule.latent` takes them.
    similarity : float
        Mean similarity of the layers that the recurrent block replaces, each with each other.
    saving : float
        Share of the layers' parameters that is saved.
    """

    n_prelude: int
    n_recurrent: int
    loops: int
    n_coda: int
    similarity: float
    saving: float

    @property
    def schedule(self) -> Schedule:
        """The schedule that is proposed."""
        return latent(self.n_recurrent, self.loops, self.n_prelude, self.n_coda)

    @property
    def overrides(self) -> str:
        """What trains it, on the command line of a recipe."""
        return (
            f"--n_prelude {self.n_prelude} --n_recurrent {self.n_recurrent} "
            f"--loops {self.loops} --n_coda {self.n_coda}"
        )


def recurrent_shapes(n: int, saving: float, max_loops: int = 5) -> list[tuple[int, int]]:
    """Recurrent blocks that save enough.

    Arguments
    ---------
    n : int
        Layers of the encoder.
    saving : float
        Least share of their parameters to save, above 0.
    max_loops : int
        Most loops of the block.

    Returns
    -------
    list of (int, int)
        Layers of the block, and how often it loops.

    Raises
    ------
    UserError
        If so much cannot be saved.

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

    Of N layers a contiguous middle of m = n_R L becomes n_R layers looped L times, 2 <= L <=
    ``max_loops``; the depth stays N, and N - m + n_R layers stay. Among all that save at least what is
    asked for, 1 - (N - m + n_R) / N, the middle of the highest mean similarity is taken, each of its
    layers with each other; among equals the one that keeps the most layers. Without a limit on the loops
    one layer looped often would win nearly always, since shorter middles are more alike; the paper's
    error rates are best at 5 loops.

    Arguments
    ---------
    similarity : numpy.ndarray
        [N, N], see `layer_similarity`.
    saving : float
        Least share of the layers' parameters to save, above 0.
    max_loops : int
        Most loops of the recurrent block, at least 2.

    Returns
    -------
    Proposal

    Raises
    ------
    UserError
        If so much cannot be saved.

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
            proposal = Proposal(start, size, loops, n - start - m, mean, (m - size) / n)
            candidates.append(((round(mean, 9), -proposal.saving), proposal))
    return max(candidates, key=lambda candidate: candidate[0])[1]


def similarity_table(similarity: np.ndarray, labels: Sequence[str]) -> str:
    """Similarities as a Markdown table (str).

    Arguments
    ---------
    similarity : numpy.ndarray
        [N, N].
    labels : sequence of str
        Names of the N layers.
    """
    lines = [[name, *(f"{x:.2f}" for x in row)] for name, row in zip(labels, similarity, strict=True)]
    return markdown_table(["layer", *labels], lines)
