"""Token counts of padded batches, and averages over utterances."""

import torch
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.errors import UserError


def token_counts(tokens: PaddedData) -> torch.Tensor:
    """Compute the absolute lengths of a padded batch of targets.

    Arguments
    ---------
    tokens : PaddedData
        `data` [B, U] and relative `lengths` [B], which are counts divided by U. Rounding recovers the
        counts exactly.

    Returns
    -------
    torch.Tensor
        [B], int64.

    Example
    -------
    >>> token_counts(PaddedData(torch.zeros(2, 7), torch.tensor([1.0, 3 / 7])))
    tensor([7, 3])
    """
    return torch.round(tokens.lengths * tokens.data.shape[1]).long()


def average(losses: torch.Tensor, counts: torch.Tensor, reduction: str) -> torch.Tensor:
    """Average losses over a batch.

    Arguments
    ---------
    losses : torch.Tensor
        [B], summed over the tokens of each utterance.
    counts : torch.Tensor
        [B], number of tokens of each utterance.
    reduction : str
        "batchmean", as in SpeechBrain's Transformer recipes, is the mean over utterances, so long
        utterances weigh more. "mean", as in its CTC-only recipes, divides each utterance's loss by its
        number of tokens first. The result is smaller than that of "batchmean" by about the mean number
        of tokens, which affects gradient clipping and regularization.

    Returns
    -------
    torch.Tensor
        A scalar.

    Raises
    ------
    UserError
        If the reduction is unknown.

    Example
    -------
    >>> average(torch.tensor([6.0, 2.0]), torch.tensor([3, 1]), "batchmean")
    tensor(4.)
    >>> average(torch.tensor([6.0, 2.0]), torch.tensor([3, 1]), "mean")
    tensor(2.)
    """
    if reduction == "mean":
        losses = losses / counts.clamp(min=1)
    elif reduction != "batchmean":
        raise UserError(f"reduction: {reduction}: choose batchmean or mean")
    return losses.mean()
