"""What every objective is: a module that asks for outputs and turns them into losses."""

from typing import Any

import torch
from torch import nn

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

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch, counted from 1; called before every epoch and after a resume."""
