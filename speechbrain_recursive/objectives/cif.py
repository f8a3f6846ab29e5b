"""The quantity loss of continuous integrate-and-fire."""

from typing import Any

import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.request import Outputs
from speechbrain_recursive.objectives.lengths import average, token_counts
from speechbrain_recursive.objectives.objective import Objective


class Quantity(Objective):
    """How far the weights of the part ``cif`` are from as many tokens as there are, named "quantity".

    The weights are those before scaling, so that a model learns to fire the right number of times
    without knowing it. Like the sequence that is decoded, the count includes <eos>.

    Arguments
    ---------
    reduction : str
        "batchmean" or "mean"; see `lengths.average`.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> from speechbrain.dataio.batch import PaddedData
    >>> from speechbrain_recursive.nn.state import State
    >>> cif = State(torch.zeros(1, 4, 8)).remember(quantity=torch.tensor([3.5]))
    >>> tokens_eos = PaddedData(torch.tensor([[3, 4, 5, 2]]), torch.tensor([1.0]))
    >>> Quantity()(SimpleNamespace(states={"cif": cif}), SimpleNamespace(tokens_eos=tokens_eos))
    {'quantity': tensor(0.5000)}
    """

    def __init__(self, reduction: str = "batchmean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the loss.

        Arguments
        ---------
        outputs : Outputs
            The state of `cif`, with `quantity` [B] in its memory.
        batch : PaddedBatch
            `tokens_eos` [B, I].

        Returns
        -------
        dict
            "quantity" -> scalar.

        Raises
        ------
        UserError
            If the model has no part `cif`.
        """
        if "cif" not in outputs.states:
            raise UserError("objective: the quantity loss reads a part 'cif', which the model lacks")
        counts = token_counts(batch.tokens_eos)
        losses = (outputs.states["cif"].memory["quantity"] - counts).abs()
        return {"quantity": average(losses, counts, self.reduction)}
