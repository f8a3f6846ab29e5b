"""Greedy CTC decoding of a whole batch at once."""

from itertools import pairwise

import torch

from speechbrain_recursive.decoding.decoder import Decode, Decoder, Setting


class Greedy(Decoder):
    """Takes the most likely token of each frame; see :func:`greedy`.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> decode = Greedy().build(SimpleNamespace(tokenizer=SimpleNamespace(blank=0)))
    >>> decode(SimpleNamespace(log_probs=torch.eye(3)[None], frames=torch.tensor([3])))
    [[1, 2]]
    """

    def build(self, setting: Setting) -> Decode:
        """Make the decoding function; see :meth:`Decoder.build`."""
        blank = setting.tokenizer.blank
        return lambda outputs: greedy(outputs.log_probs, outputs.frames, blank)


def greedy(log_probs: torch.Tensor, frames: torch.Tensor, blank: int = 0) -> list[list[int]]:
    """The most likely token of each frame, without repeats and blanks.

    SpeechBrain's ``ctc_greedy_decode`` takes relative lengths and loops over frames in Python. Here
    lengths are frame counts, and the batch is copied to the host once.

    Arguments
    ---------
    log_probs : torch.Tensor
        CTC log-posteriors [B, T, V], or logits.
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
