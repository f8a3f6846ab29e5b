"""SpecAugment, from SpeechBrain's parts where they fit."""

import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import SpectrogramDrop
from torch import nn


def spec_augment(
    freq_masks: int, freq_width: int, time_masks: int, time_width: int, time_ratio: float | None = None
) -> Augmenter:
    """Frequency and time masks that replace features by zeros, their mean in normalized utterances.

    Arguments
    ---------
    freq_masks, time_masks : int
        Masks per utterance.
    freq_width, time_width : int
        Widths are below these, in bands and frames; they are SpeechBrain's, which excludes the end.
    time_ratio : float, optional
        Limits time masks to this part of their utterance, see :class:`TimeMasks`; a mask may then be
        ``time_width`` frames wide, and masks of width 0 are drawn as well.

    Returns
    -------
    Augmenter
        Of features [B, T, F] and relative lengths [B].

    Example
    -------
    >>> augment = spec_augment(freq_masks=2, freq_width=27, time_masks=2, time_width=100)
    >>> augment(torch.rand(2, 200, 80), torch.ones(2))[0].shape
    torch.Size([2, 200, 80])
    """
    low = 1 if time_ratio is None else 0

    def drop(count, width, dim):
        return SpectrogramDrop(low, width, count, count, replace="zeros", dim=dim)

    time = drop(time_masks, time_width, 1)
    if time_ratio is not None:
        time = TimeMasks(time_masks, time_width, time_ratio)
    return Augmenter(
        concat_original=False,
        min_augmentations=2,
        max_augmentations=2,
        augmentations=[drop(freq_masks, freq_width, 2), time],
    )


class TimeMasks(nn.Module):
    """SpecAugment's time masks, none longer than a part of the utterance itself.

    For SpeechBrain's ``Augmenter``.

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

    def __init__(self, count: int, width: int, ratio: float):
        super().__init__()
        self.count = count
        self.width = width
        self.ratio = ratio

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
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
