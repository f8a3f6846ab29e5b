"""Hierarchical distillation from a language model to the states of tokens (CIF-HKD, Section 2.2)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.firing import without_autocast
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.objectives.lengths import average, token_counts
from speechbrain_recursive.objectives.objective import Objective


class Contrastive(nn.Module):
    """Each student state finds its own teacher state among others of the batch (Eq. 2).

    With normalized states c and e, and s(x, y) = exp(<x, y> / t), the loss of token i is
    -log(s(c_i, e_i) / (s(c_i, e_i) + sum_k s(c_i, e_k))). The K tokens k are drawn for each i from all
    others of the batch, without replacement. A batch that has fewer gives all.

    Arguments
    ---------
    temperature : float
        t, above 0.
    negatives : int
        K, at least 1.
    exclude_copies : bool
        Whether tokens of the same id as the positive one are never drawn. Not stated in the paper.

    Raises
    ------
    UserError
        If the temperature or the number is out of range.

    Example
    -------
    >>> states = torch.eye(3)
    >>> Contrastive(temperature=1.0)(states, states, torch.tensor([4, 5, 4]))
    tensor([0.5514, 0.5514, 0.5514])
    """

    def __init__(self, temperature: float = 0.02, negatives: int = 700, exclude_copies: bool = False):
        super().__init__()
        if temperature <= 0:
            raise UserError(f"contrastive loss: temperature {temperature}: must be above 0")
        if not isinstance(negatives, int) or negatives < 1:
            raise UserError(f"contrastive loss: negatives {negatives!r}: a number of at least 1")
        self.temperature, self.negatives = temperature, negatives
        self.exclude_copies = exclude_copies

    def forward(
        self, student: torch.Tensor, teacher: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Loss of each token.

        Arguments
        ---------
        student, teacher : torch.Tensor
            States of all tokens of a batch [M, D], without padding.
        tokens : torch.LongTensor
            Their ids [M].

        Returns
        -------
        torch.Tensor
            [M].
        """
        student, teacher = (nn.functional.normalize(x, dim=-1) for x in (student, teacher))
        scores = student @ teacher.T / self.temperature
        own = torch.eye(len(tokens), dtype=torch.bool, device=tokens.device)
        others = tokens[:, None] != tokens if self.exclude_copies else ~own
        return -scores.masked_fill(~(own | self._drawn(others)), -torch.inf).log_softmax(-1).diagonal()

    def _drawn(self, others):
        """At most K of the tokens that each may be compared with, [M, M] as these are."""
        if others.shape[1] <= self.negatives:
            return others
        lots = torch.rand(others.shape, device=others.device).masked_fill(~others, -1.0)
        drawn = torch.zeros_like(others).scatter(1, lots.topk(self.negatives).indices, True)
        return drawn & others


class SquaredError(nn.Module):
    """The squared error, summed over the width and scaled (Eq. 3 and 5).

    Arguments
    ---------
    scale : float
        The paper's 0.01.

    Example
    -------
    >>> SquaredError()(torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([4, 5]))
    tensor([0.0300, 0.0300])
    """

    def __init__(self, scale: float = 0.01):
        super().__init__()
        self.scale = scale

    def forward(
        self, student: torch.Tensor, teacher: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Loss of each token, see :meth:`Contrastive.forward`."""
        return self.scale * (student - teacher).square().sum(-1)


class Cosine(nn.Module):
    """One minus the cosine, scaled (Eq. 4).

    Arguments
    ---------
    scale : float
        The paper's 10.

    Example
    -------
    >>> Cosine()(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([4]))
    tensor([10.])
    """

    def __init__(self, scale: float = 10.0):
        super().__init__()
        self.scale = scale

    def forward(
        self, student: torch.Tensor, teacher: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Loss of each token, see :meth:`Contrastive.forward`."""
        return self.scale * (1 - nn.functional.cosine_similarity(student, teacher, dim=-1))


class Level(nn.Module):
    """One level of the distillation: whose states, and their loss.

    Arguments
    ---------
    part : str
        The part of the model whose state has one position per token: ``cif`` for the acoustic level,
        ``decoder`` for the linguistic one.
    loss : torch.nn.Module
        `Contrastive`, `SquaredError` or `Cosine`.
    widths : sequence of int
        Of the part's states and of the teacher's; a linear map between them is trained.
    """

    def __init__(self, part: str, loss: nn.Module, widths: tuple[int, int]):
        super().__init__()
        self.part, self.loss = part, loss
        self.project = nn.Linear(*widths)


class HierarchicalDistillation(Objective):
    """Losses of several levels against one teacher's states of the same tokens.

    Each is averaged over an utterance's tokens, <eos> included, and then over the batch. Where the
    states of a level are fewer or more than the tokens, as after firings that were not scaled, those
    that both have are compared. In YAML::

        !new:speechbrain_recursive.objectives.hierarchical.HierarchicalDistillation
            teacher: bert
            levels:
                acoustic: !new:speechbrain_recursive.objectives.hierarchical.Level
                    part: cif
                    loss: !new:speechbrain_recursive.objectives.hierarchical.Contrastive
                    widths: [256, 768]

    Arguments
    ---------
    levels : mapping of str to Level
        By the names of their losses.
    teacher : str
        The teacher's name under ``teachers:``.
    reduction : str
        "mean" as in the paper, or "batchmean" for sums over tokens; see `lengths.average`.

    Raises
    ------
    UserError
        If there is no level.
    """

    def __init__(self, levels: Mapping[str, Level], teacher: str = "bert", reduction: str = "mean"):
        super().__init__()
        if not levels:
            raise UserError("distillation: give it a level, such as acoustic or linguistic")
        self.levels = nn.ModuleDict(levels)
        self.teacher, self.reduction = teacher, reduction

    def needs(self, depth: Depth) -> Request:
        """The teacher's states."""
        return Request(teachers={self.teacher: Request()})

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the losses.

        Arguments
        ---------
        outputs : Outputs
            With the states of the levels' parts [B, I', d], and the teacher's [B, I, D].
        batch : PaddedBatch
            `tokens_eos` [B, I].

        Returns
        -------
        dict
            From each level's name to a scalar.

        Raises
        ------
        UserError
            If the model has no such part, or the teacher's states are of another width.
        """
        teacher = outputs.teachers[self.teacher]
        tokens, counts = batch.tokens_eos.data, token_counts(batch.tokens_eos)
        return {
            name: self._loss(name, level, outputs.states, teacher, tokens, counts)
            for name, level in self.levels.items()
        }

    def _loss(self, name, level, states, teacher, tokens, counts):
        if level.part not in states:
            raise UserError(f"{name}: the model has no part '{level.part}'")
        if (width := teacher.shape[-1]) != level.project.out_features:
            raise UserError(
                f"{name}: the states of teacher '{self.teacher}' have {width} values, not "
                f"{level.project.out_features}: set --teacher_width {width}"
            )
        state = states[level.part]
        length = min(state.x.shape[1], tokens.shape[1])
        shared = torch.minimum(state.frames, counts)
        real = torch.arange(length, device=tokens.device) < shared[:, None]
        row = real.nonzero()[:, 0]
        with without_autocast(state.x):
            student = level.project(state.x[:, :length][real].float())
            each = level.loss(student, teacher[:, :length][real].float(), tokens[:, :length][real])
            sums = each.new_zeros(len(tokens)).index_add(0, row, each)
            return average(sums, shared, self.reduction)
