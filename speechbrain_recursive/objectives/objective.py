"""What every objective is: a module that asks for outputs and turns them into losses."""

from typing import Any

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request


class Objective(nn.Module):
    """Base class of objectives.

    Parameters of an objective, such as a projection between the widths of teacher and student, are
    trained and resumed with the model, and are not published.
    """

    def needs(self, depth: Depth) -> Request:
        """What the objective reads of a run.

        Arguments
        ---------
        depth : Depth
            Of the run.

        Returns
        -------
        Request
        """
        return Request()

    def requests(self, depth: Depth) -> list[Request]:
        """All that :meth:`needs` returns for a run of this depth in the course of training."""
        return [self.needs(depth)]

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute losses.

        Arguments
        ---------
        outputs : Outputs
            At least what :meth:`needs` asked for.
        batch : PaddedBatch
            The targets.

        Returns
        -------
        dict of str to torch.Tensor
            Scalars by name.
        """
        raise TypeError(f"{type(self).__name__} computes no loss")

    def divergence(self, student: Outputs, teacher: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute Kullback-Leibler divergences between two runs of a step.

        They are of the distributions that the losses are computed from, summed over an utterance and
        averaged over the batch as these losses are, without padding.

        Arguments
        ---------
        student, teacher : Outputs
            Of the same batch. The teacher gets no gradient.
        batch : PaddedBatch
            The targets.

        Returns
        -------
        dict of str to torch.Tensor
            KL(teacher || student) by the name of the loss.

        Raises
        ------
        UserError
            If the objective has no such distributions.
        """
        raise UserError(f"{type(self).__name__} compares no distributions of two runs")

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch, counted from 1; called before every epoch and after a resume."""
