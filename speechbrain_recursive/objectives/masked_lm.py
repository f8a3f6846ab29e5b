"""The loss of a masked language model."""

from typing import Any

import torch

from speechbrain_recursive.objectives.objective import Objective


class MaskedLM(Objective):
    """The cross entropy of masked tokens that Hugging Face's models compute, under the name "mlm"."""

    def forward(self, outputs: Any, batch: Any) -> dict[str, torch.Tensor]:
        """Return the loss.

        Arguments
        ---------
        outputs : object
            With the scalar `loss`, the mean over masked tokens.
        batch : PaddedBatch
            Not used.

        Returns
        -------
        dict
            "mlm" -> scalar.
        """
        del batch
        return {"mlm": outputs.loss}
