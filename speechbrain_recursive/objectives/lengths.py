"""From padded batches to one number: absolute lengths, and how utterances are averaged."""

import torch

from speechbrain_recursive.errors import UserError


def token_counts(tokens):
    """Absolute lengths of a padded batch of targets.

    Arguments
    ---------
    tokens : PaddedData
        `data` [B, U] and relative `lengths` [B]. These are counts divided by U, so rounding gives
        the counts back exactly.

    Returns
    -------
    torch.Tensor
        [B], int64.

    Example
    -------
    >>> from speechbrain.dataio.batch import PaddedData
    >>> token_counts(PaddedData(torch.zeros(2, 7), torch.tensor([1.0, 3 / 7])))
    tensor([7, 3])
    """
    return torch.round(tokens.lengths * tokens.data.shape[1]).long()


def average(losses, counts, reduction):
    """Average losses over a batch.

    Arguments
    ---------
    losses : torch.Tensor
        [B], the sum over each utterance's tokens.
    counts : torch.Tensor
        [B], tokens of each utterance.
    reduction : str
        "batchmean", as in SpeechBrain's Transformer recipes: the mean over utterances, in which
        long ones weigh more. "mean", as in its CTC-only recipes: the same after dividing each
        utterance's loss by its tokens. Against "batchmean" that is smaller by about the mean
        number of tokens, which matters to clipping and to regularizers.

    Returns
    -------
    torch.Tensor
        A scalar.

    Raises
    ------
    UserError
        For another reduction.

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
