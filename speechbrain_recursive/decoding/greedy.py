"""Greedy CTC decoding of a whole batch at once."""

from itertools import pairwise

import torch


def greedy(log_probs, frames, blank=0):
    """The most likely label of each frame, repeats and blanks removed.

    SpeechBrain's ``ctc_greedy_decode`` takes relative lengths and loops over frames in Python;
    here lengths are frames, and the host is asked once for the whole batch.

    Arguments
    ---------
    log_probs : torch.Tensor
        CTC log-posteriors [B, T, V], or anything that grows with them.
    frames : torch.Tensor
        Number of frames of each utterance [B], at most T.
    blank : int
        Index of the blank.

    Returns
    -------
    list of list of int
        Token ids of each utterance.

    Example
    -------
    >>> log_probs = torch.eye(3)[torch.tensor([[1, 1, 0, 1, 2], [2, 2, 1, 1, 1]])]
    >>> greedy(log_probs, torch.tensor([5, 2]))
    [[1, 1, 2], [2]]
    """
    best = log_probs.argmax(dim=-1)
    keep = best != blank
    keep[:, 1:] &= best[:, 1:] != best[:, :-1]
    keep &= torch.arange(best.shape[1], device=best.device) < frames.to(best.device)[:, None]
    tokens = best[keep].tolist()
    ends = keep.sum(dim=1).cumsum(dim=0).tolist()
    return [tokens[start:end] for start, end in pairwise([0, *ends])]
