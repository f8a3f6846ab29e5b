"""Augmentation of features that SpeechBrain's augmenter does not bring."""

import torch
from torch import nn


class TimeMasks(nn.Module):
    """SpecAugment's time masks, none longer than a part of the utterance itself.

    For SpeechBrain's ``Augmenter``, on features that are normalized by utterance: the zeros that fill
    the masks are then the utterance's mean.

    Arguments
    ---------
    count : int
        Masks of each utterance.
    width : int
        The longest mask, in frames.
    ratio : float
        The longest mask as a part of its utterance.

    Example
    -------
    >>> masked = TimeMasks(count=2, width=100, ratio=0.1)(torch.ones(1, 100, 8), torch.ones(1))
    >>> 80 <= int(masked[0, :, 0].sum()) <= 100
    True
    """

    def __init__(self, count, width, ratio):
        super().__init__()
        self.count = count
        self.width = width
        self.ratio = ratio

    def forward(self, x, lengths):
        """Mask.

        Arguments
        ---------
        x : torch.Tensor
            [B, T, F].
        lengths : torch.Tensor
            Relative lengths [B].

        Returns
        -------
        torch.Tensor
            [B, T, F].
        """
        draw = torch.rand(2, len(x), self.count, 1, device=x.device)
        frames = (lengths * x.shape[1])[:, None, None]
        width = draw[0] * (self.ratio * frames).clamp(max=self.width)
        start = draw[1] * (frames - width)
        time = torch.arange(x.shape[1], device=x.device) + 0.5  # a frame's middle
        masked = ((time >= start) & (time < start + width)).any(1)
        return x.masked_fill(masked[:, :, None], 0.0)
