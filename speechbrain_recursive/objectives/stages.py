"""One objective after another over training."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.objectives.objective import Objective


class Stages(Objective):
    """Runs each objective for some epochs, then the next; the last one runs to the end of training.

    In YAML, 30 epochs of distillation and then CTC::

        objective: !new:speechbrain_recursive.objectives.stages.Stages
            objectives: [!ref <distillation>, !ref <ctc>]
            epochs: [30]

    The stage follows from the epoch, so a resumed run is in the right one.

    Arguments
    ---------
    objectives : sequence of Objective
        Each returns its total as "loss", as :class:`~speechbrain_recursive.objectives.joint.Joint` does.
    epochs : sequence of int
        Of all stages but the last.

    Raises
    ------
    UserError
        If the numbers of stages and epochs do not fit, or a stage has less than one epoch.
    """

    def __init__(self, objectives: Sequence[Objective], epochs: Sequence[int]):
        super().__init__()
        if len(epochs) != len(objectives) - 1 or min(epochs, default=1) < 1:
            raise UserError(
                f"epochs: {list(epochs)} for {len(objectives)} stages; give a number of at least 1 for "
                "each stage but the last"
            )
        self.objectives = nn.ModuleList(objectives)
        self.epochs = tuple(epochs)
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        """Choose the epoch's stage."""
        ends = [0, *accumulate(self.epochs)]
        self.stage = bisect_left(ends[1:], epoch)
        self.objectives[self.stage].start_epoch(epoch - ends[self.stage])

    def needs(self, depth: Depth) -> Request:
        """What the present stage needs."""
        return self.objectives[self.stage].needs(depth)

    def requests(self, depth: Depth) -> list[Request]:
        """What each stage needs, in turn."""
        return [request for objective in self.objectives for request in objective.requests(depth)]

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the losses of the present stage."""
        return self.objectives[self.stage](outputs, batch)

    def divergence(self, student: Outputs, teacher: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute those of the present stage."""
        return self.objectives[self.stage].divergence(student, teacher, batch)
