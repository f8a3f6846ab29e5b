"""A weighted sum of objectives."""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from operator import or_
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.objectives.objective import Objective


class Joint(Objective):
    """Adds up the losses of several objectives, each with its weight.

    In YAML, with the weights of "Rethinking Depth"::

        objective: !new:speechbrain_recursive.objectives.joint.Joint
            weights: {ctc: 0.3, seq2seq: 0.7}
            objectives:
                - !new:speechbrain_recursive.objectives.ctc.CTC
                - !new:speechbrain_recursive.objectives.seq2seq.Seq2Seq
                    label_smoothing: 0.1

    Arguments
    ---------
    objectives : sequence of Objective
        Their losses have different names.
    weights : mapping of str to float
        By name of the loss. A loss of weight 0 is computed and logged, but not added.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> from speechbrain.dataio.batch import PaddedData
    >>> from speechbrain_recursive.objectives.ctc import CTC
    >>> outputs = SimpleNamespace(log_probs=torch.zeros(1, 4, 3), frames=torch.tensor([4]))
    >>> tokens = PaddedData(torch.tensor([[1, 2]]), torch.tensor([1.0]))
    >>> losses = Joint([CTC()], {"ctc": 0.5})(outputs, SimpleNamespace(tokens=tokens))
    >>> sorted(losses)
    ['ctc', 'loss']
    """

    def __init__(self, objectives: Sequence[Objective], weights: Mapping[str, float]):
        super().__init__()
        self.objectives = nn.ModuleList(objectives)
        self.weights = dict(weights)

    def needs(self, depth: Depth) -> Request:
        """What any of the objectives needs."""
        return reduce(or_, (objective.needs(depth) for objective in self.objectives), Request())

    def requests(self, depth: Depth) -> list[Request]:
        """Every combination of what the objectives need."""
        each = (objective.requests(depth) for objective in self.objectives)
        return [reduce(or_, together, Request()) for together in product(*each)]

    def start_epoch(self, epoch: int) -> None:
        """Prepare every objective."""
        for objective in self.objectives:
            objective.start_epoch(epoch)

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute all losses and, as "loss", their weighted sum.

        Raises
        ------
        UserError
            If two objectives use one name, or if names and weights do not match.
        """
        return self._weigh(objective(outputs, batch) for objective in self.objectives)

    def divergence(self, student: Outputs, teacher: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Divergences of all objectives and, as "loss", their sum, weighted as the losses are."""
        return self._weigh(each.divergence(student, teacher, batch) for each in self.objectives)

    def _weigh(self, losses):
        """Losses of all objectives by name, and their weighted sum."""
        parts = {}
        for of_one in losses:
            for name, value in of_one.items():
                if name in parts:
                    raise UserError(f"objectives: two of them are called {name}")
                parts[name] = value
        if parts.keys() != self.weights.keys():
            raise UserError(
                f"weights: given for {', '.join(sorted(self.weights)) or 'nothing'}, "
                f"but the objectives are {', '.join(sorted(parts)) or 'none'}"
            )
        total = sum(weight * parts[name] for name, weight in self.weights.items() if weight)
        return {**parts, "loss": total}
