"""Connectionist temporal classification."""

from typing import Any

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.objectives.divergence import summed
from speechbrain_recursive.objectives.lengths import average, token_counts
from speechbrain_recursive.objectives.objective import Objective

logger = get_logger(__name__)


class CTC(Objective):
    """The CTC loss of the head ``ctc`` against `batch.tokens`, under the name "ctc".

    The blank is token 0. Frame counts are absolute, so that padding changes nothing, and the loss
    is computed in float32 whatever the type of its input. An utterance with more tokens than its
    frames can hold counts as zero and has no gradient; the first one is named in a warning, and
    `impossible` counts them.

    Arguments
    ---------
    reduction : str
        "batchmean" or "mean"; see `lengths.average`.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> from speechbrain.dataio.batch import PaddedData
    >>> outputs = SimpleNamespace(log_probs=torch.zeros(1, 4, 3), frames=torch.tensor([4]))
    >>> outputs.log_probs -= torch.tensor(3.0).log()
    >>> tokens = PaddedData(torch.tensor([[1, 2]]), torch.tensor([1.0]))
    >>> CTC()(outputs, SimpleNamespace(tokens=tokens))["ctc"]
    tensor(1.6864)
    """

    def __init__(self, reduction: str = "batchmean"):
        super().__init__()
        self.reduction = reduction
        self.impossible = 0

    def needs(self, depth: Depth) -> Request:
        """The CTC head."""
        return Request(heads=["ctc"])

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the loss.

        Arguments
        ---------
        outputs : Outputs
            `log_probs` [B, T, V] and `frames` [B].
        batch : PaddedBatch
            `tokens` [B, U], and `id` to name an utterance that cannot be aligned.

        Returns
        -------
        dict
            "ctc" -> scalar.
        """
        self._count_impossible(outputs.frames, batch)
        return {"ctc": self.loss(outputs, batch)}

    def loss(self, outputs: Outputs, batch: Any) -> torch.Tensor:
        """The loss (a scalar) of one run or exit; see :meth:`forward`."""
        counts = token_counts(batch.tokens)
        losses = torch.nn.functional.ctc_loss(
            outputs.log_probs.float().transpose(0, 1),
            batch.tokens.data,
            outputs.frames,
            counts,
            reduction="none",
            zero_infinity=True,
        )
        return average(losses, counts, self.reduction)

    def divergence(self, student: Outputs, teacher: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Of the posteriors, over frames; see :meth:`Objective.divergence`."""
        losses = summed(student.log_probs, teacher.log_probs.detach(), student.frames)
        return {"ctc": average(losses, token_counts(batch.tokens), self.reduction)}

    def _count_impossible(self, frames, batch):
        """Count utterances whose tokens, with a blank between equal neighbors, need more frames."""
        tokens, counts = batch.tokens.data, token_counts(batch.tokens)
        inside = torch.arange(1, tokens.shape[1], device=tokens.device) < counts[:, None]
        repeats = ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
        needed = counts + repeats
        rows = (needed > frames).nonzero().flatten().tolist()
        if rows and not self.impossible:
            row = rows[0]
            logger.warning(
                f"Utterance {batch.id[row]} needs {int(needed[row])} frames for its tokens and has "
                f"{int(frames[row])}: it and others like it count as zero in the CTC loss"
            )
        self.impossible += len(rows)
