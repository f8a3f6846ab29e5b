"""Kullback-Leibler divergence between two models' distributions of tokens."""

import torch
from torch import nn


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Compute sum_v p_teacher(v) (log p_teacher(v) - log p_student(v)), in float32.

    Arguments
    ---------
    student, teacher : torch.Tensor
        Log-probabilities [..., V].

    Returns
    -------
    torch.Tensor
        [...].

    Example
    -------
    >>> half, sure = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.75, 0.25]).log()
    >>> divergence(half, half), divergence(half, sure)
    (tensor(0.), tensor(0.1308))
    """
    pair = student.float(), teacher.float()
    return nn.functional.kl_div(*pair, reduction="none", log_target=True).sum(-1)


def summed(student: torch.Tensor, teacher: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Sum the divergence over the real positions of each row.

    Arguments
    ---------
    student, teacher : torch.Tensor
        Log-probabilities [B, N, V].
    counts : torch.Tensor
        Number of real positions of each row [B].

    Returns
    -------
    torch.Tensor
        [B].

    Example
    -------
    >>> half, sure = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    >>> summed(half.expand(2, 3, 2), sure.expand(2, 3, 2), torch.tensor([3, 1]))
    tensor([0.3924, 0.1308])
    """
    each = divergence(student, teacher)
    past = torch.arange(each.shape[1], device=each.device) >= counts[:, None]
    return each.masked_fill(past, 0.0).sum(1)
