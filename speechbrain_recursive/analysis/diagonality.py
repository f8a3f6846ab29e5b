"""Cumulative attention diagonality (CAD): how much attention stays near the diagonal.

Shim, Choi and Sung, "Understanding the role of self attention for efficient speech recognition" (2022).
BiCycle groups the layers of a trained model by it, see :mod:`speechbrain_recursive.analysis.grouping`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.errors import UserError


def diagonality(weights: torch.Tensor, frames: torch.Tensor | None = None) -> torch.Tensor:
    """CAD of each head of each utterance.

    D(r) is the attention within the distance r (T - 1) of the diagonal, averaged over the T frames of an
    utterance. CAD is the integral of D(r) over r from 0 to 1. It is 1 if every frame attends to itself
    alone, and about 2/3 if every frame attends to all frames alike. For whole frames, the integral is
    sum_ij A_ij (1 - |i - j| / (T - 1)) / T.

    Arguments
    ---------
    weights : torch.Tensor
        [B, heads, T, T], by query and key. Rows are normalized over the real frames.
    frames : torch.Tensor, optional
        Counts of real frames (LongTensor [B]), T by default. Other frames count neither as queries nor
        as keys.

    Returns
    -------
    torch.Tensor
        [B, heads], from 0 to 1; 1 for a single frame.

    Example
    -------
    >>> diagonality(torch.stack([torch.eye(3), torch.eye(3).flip(0)])[None].double())
    tensor([[1.0000, 0.3333]], dtype=torch.float64)
    """
    time = weights.shape[-1]
    if frames is None:
        frames = torch.full(weights.shape[:1], time)
    frames = frames.to(weights.device)[:, None, None]
    place = torch.arange(time, device=weights.device)
    real = place < frames  # [B, 1, T]
    near = 1 - (place[:, None] - place).abs() / (frames - 1).clamp(min=1)
    weights = weights.masked_fill(~real[:, None], 0.0)
    rows = weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)  # a row without attention counts 0
    by_row = (weights * near[:, None]).sum(-1) / rows
    return by_row.masked_fill(~real, 0.0).sum(-1) / frames[..., 0]


def mean_diagonality(utterances: Iterable[torch.Tensor]) -> np.ndarray:
    """CAD by logical step and head, averaged over utterances.

    Arguments
    ---------
    utterances : iterable of torch.Tensor
        Attention weights of the N steps for each utterance, at its T real frames without padding
        [N, heads, T, T].

    Returns
    -------
    numpy.ndarray
        [N, heads].

    Raises
    ------
    UserError
        If there is no utterance.
    """
    values = [diagonality(weights.double()).cpu() for weights in utterances]
    if not values:
        raise UserError("there is no audio to measure attention on")
    return torch.stack(values).mean(0).numpy()


def diagonality_table(cad: np.ndarray, labels: Sequence[str]) -> str:
    """Format CAD by step as a Markdown table: mean, least and largest of the heads.

    Arguments
    ---------
    cad : numpy.ndarray
        [N, heads], from :func:`mean_diagonality`.
    labels : sequence of str
        Their layers.

    Returns
    -------
    str
    """
    values = zip(labels, cad.mean(1), cad.min(1), cad.max(1), strict=True)
    lines = [
        [str(step), name, *(f"{x:.3f}" for x in row)] for step, (name, *row) in enumerate(values, 1)
    ]
    return markdown_table(["step", "layer", "mean", "least", "largest"], lines)
