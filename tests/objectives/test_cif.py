"""The quantity loss: counts with <eos>, weights before scaling."""

from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.state import State
from speechbrain_recursive.objectives.cif import Quantity

EOS = PaddedData(torch.tensor([[4, 5, 6, 2], [4, 2, 0, 0]]), torch.tensor([1.0, 0.5]))
BATCH = SimpleNamespace(tokens_eos=EOS)


def outputs_of(quantity):
    return SimpleNamespace(states={"cif": State(torch.zeros(2, 4, 3)).remember(quantity=quantity)})


@pytest.mark.parametrize(("reduction", "loss"), [("batchmean", 1.0), ("mean", (0.5 / 4 + 1.5 / 2) / 2)])
def test_it_is_the_distance_from_the_number_of_tokens(reduction, loss):
    quantity = torch.tensor([3.5, 3.5], requires_grad=True)
    found = Quantity(reduction)(outputs_of(quantity), BATCH)["quantity"]
    assert float(found) == pytest.approx(loss)
    gradient = torch.autograd.grad(found, quantity)[0]
    assert gradient[0] < 0 < gradient[1]


def test_a_model_without_cif_is_refused():
    with pytest.raises(UserError, match=r"^objective: the quantity loss reads a part 'cif'"):
        Quantity()(SimpleNamespace(states={}), BATCH)
