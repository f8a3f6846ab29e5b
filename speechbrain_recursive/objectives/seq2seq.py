"""Label-smoothed cross entropy of the attention decoder."""

from typing import Any

import torch
from speechbrain.nnet.losses import kldiv_loss

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.objectives.divergence import summed
from speechbrain_recursive.objectives.lengths import average, token_counts
from speechbrain_recursive.objectives.objective import Objective

PADDING = -100  # no token: neither SpeechBrain's smoothing nor PyTorch's cross entropy counts it


class Seq2Seq(Objective):
    """The loss of the head ``seq2seq`` against `batch.tokens_eos`, under the name "seq2seq".

    With smoothing s over V classes the target is 1 - s on the right token and s / (V - 1) on each
    other, and the loss is the KL divergence from it; without smoothing it is the cross entropy.
    Positions past an utterance's end are left out by its length, whatever they hold.

    Arguments
    ---------
    label_smoothing : float
        s, from 0 up to but not including 1.
    reduction : str
        "batchmean" or "mean"; see `lengths.average`.

    Raises
    ------
    UserError
        If the smoothing is out of range.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> from speechbrain.dataio.batch import PaddedData
    >>> outputs = SimpleNamespace(decoded=torch.tensor([[[0.25, 0.5, 0.25]]]).log())
    >>> tokens_eos = PaddedData(torch.tensor([[1]]), torch.tensor([1.0]))
    >>> Seq2Seq(label_smoothing=0.0)(outputs, SimpleNamespace(tokens_eos=tokens_eos))["seq2seq"]
    tensor(0.6931)
    """

    def __init__(self, label_smoothing: float = 0.1, reduction: str = "batchmean"):
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing: {label_smoothing}: choose from 0 up to below 1")
        self.label_smoothing = label_smoothing
        self.reduction = reduction

    def needs(self, depth: Depth) -> Request:
        """The seq2seq head."""
        return Request(heads=["seq2seq"])

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the loss.

        Arguments
        ---------
        outputs : Outputs
            `decoded` [B, U + 1, V], log probabilities.
        batch : PaddedBatch
            `tokens_eos` [B, U + 1].

        Returns
        -------
        dict
            "seq2seq" -> scalar.
        """
        tokens, counts = batch.tokens_eos.data, token_counts(batch.tokens_eos)
        past = torch.arange(tokens.shape[1], device=tokens.device) >= counts[:, None]
        losses = kldiv_loss(
            outputs.decoded.float().contiguous(),
            tokens.masked_fill(past, PADDING),
            label_smoothing=self.label_smoothing,
            pad_idx=PADDING,
            reduction="none",
        )
        losses = losses.reshape(len(tokens), -1).sum(1)
        return {"seq2seq": average(losses, counts, self.reduction)}

    def divergence(self, student: Outputs, teacher: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Of the decoder's posteriors, over tokens and <eos>; see :meth:`Objective.divergence`."""
        counts = token_counts(batch.tokens_eos)
        losses = summed(student.decoded, teacher.decoded.detach(), counts)
        return {"seq2seq": average(losses, counts, self.reduction)}
