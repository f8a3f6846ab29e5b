"""Principal components of the states after each logical step (BiCycle, Figure 4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.errors import UserError

N_COMPONENTS = 3


@dataclass(frozen=True)
class Components:
    """Where the states of a model lie.

    Arguments
    ---------
    points : numpy.ndarray
        Coordinates of the states in the first components [U, N, 3], for U utterances and N steps.
    explained : numpy.ndarray
        Fraction of the variance along each component [3].
    distance : numpy.ndarray
        Of each step's mean state from the mean state of the others [N], in all dimensions. The median
        over steps is 1.
    """

    points: np.ndarray
    explained: np.ndarray
    distance: np.ndarray


def utterance_means(utterances: Iterable[torch.Tensor]) -> np.ndarray:
    """Mean states of utterances over their frames.

    Arguments
    ---------
    utterances : iterable of torch.Tensor
        States after N steps for each utterance, at its T real frames without padding [N, T, d].

    Returns
    -------
    numpy.ndarray
        [U, N, d].

    Raises
    ------
    UserError
        If there is no utterance.
    """
    means = [states.double().mean(1).cpu().numpy() for states in utterances]
    if not means:
        raise UserError("there is no audio to measure the states on")
    return np.stack(means)


def principal_components(states: np.ndarray) -> Components:
    """Principal component analysis of the states of all steps together.

    Arguments
    ---------
    states : numpy.ndarray
        [U, N, d], from :func:`utterance_means`.

    Returns
    -------
    Components
        By falling variance; the largest coordinate of each is positive.

    Example
    -------
    >>> states = np.zeros((1, 3, 8))
    >>> states[0, :, 2] = 0, 3, 9
    >>> found = principal_components(states)
    >>> found.points[0, :, 0].round(1).tolist(), found.explained.round(1).tolist()
    ([-4.0, -1.0, 5.0], [1.0, 0.0, 0.0])
    """
    count, steps, width = states.shape
    centered = (states - states.mean((0, 1))).reshape(-1, width)
    scores, sizes, _ = np.linalg.svd(centered, full_matrices=False)
    points = np.zeros((count * steps, N_COMPONENTS))
    variance = np.zeros(N_COMPONENTS)
    kept = min(N_COMPONENTS, len(sizes))
    points[:, :kept] = (scores * sizes)[:, :kept]
    variance[:kept] = sizes[:kept] ** 2
    largest = np.abs(points).argmax(0)
    points *= np.where(points[largest, range(N_COMPONENTS)] < 0, -1.0, 1.0)
    total = (sizes**2).sum()
    explained = variance / total if total else variance
    return Components(points.reshape(count, steps, -1), explained, _distances(states.mean(0)))


def components_table(found: Components, labels: Sequence[str]) -> str:
    """Format the mean coordinates of each step, and its distance from the others, as a Markdown table.

    Arguments
    ---------
    found : Components
        Of N steps.
    labels : sequence of str
        Their layers.

    Returns
    -------
    str
    """
    lines = [
        [str(step), label, *(f"{x:.2f}" for x in point), f"{distance:.2f}"]
        for step, (label, point, distance) in enumerate(
            zip(labels, found.points.mean(0), found.distance, strict=True), 1
        )
    ]
    head = ["step", "layer", *(f"PC{i}" for i in range(1, N_COMPONENTS + 1)), "distance"]
    shares = ", ".join(f"{share:.1%}" for share in found.explained)
    table = markdown_table(head, lines)
    return f"{table}\n\nExplained variance: {shares}; together {found.explained.sum():.1%}"


def _distances(means):
    """Distance of each row from the mean of the other rows, over the median."""
    others = (means.sum(0) - means) / max(len(means) - 1, 1)
    distance = np.linalg.norm(means - others, axis=1)
    return distance / (np.median(distance) or 1.0)
