"""What every objective is."""

import pytest
import torch

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import cycle
from speechbrain_recursive.objectives.objective import Objective


def test_asks_for_nothing_until_it_is_overridden():
    assert Objective().needs(Depth(cycle(1, 2))) == Request()
    Objective().start_epoch(1)


def test_one_that_computes_no_loss_is_named():
    class Half(Objective):
        pass

    with pytest.raises(TypeError, match="Half computes no loss"):
        Half()(None, None)


def test_its_projections_are_parameters():
    """So that optimizer and checkpoint find them."""

    class Match(Objective):
        def __init__(self):
            super().__init__()
            self.project = torch.nn.Linear(2, 3)

        def forward(self, outputs, batch):
            return {"match": self.project(outputs).square().sum()}

    objective = Match()
    objective(torch.ones(1, 2), None)["match"].backward()
    assert list(objective.state_dict()) == ["project.weight", "project.bias"]
    assert all(parameter.grad.any() for parameter in objective.parameters())
