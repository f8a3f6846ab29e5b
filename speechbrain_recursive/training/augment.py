"""Augmentation in training: speeds of waveforms and masks of features, by SpeechBrain's parts."""

from collections.abc import Sequence

import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import SpectrogramDrop
from speechbrain.augment.time_domain import SpeedPerturb
from torch import nn
from torch.nn.utils.rnn import pad_sequence


class UtteranceSpeeds(SpeedPerturb):
    """SpeechBrain's ``SpeedPerturb`` on padded batches: each utterance draws a speed of its own.

    SpeechBrain's recipes do this in the processes that read the data. Here the training process draws,
    whose random state is part of a checkpoint. An utterance is resampled without its padding, so that it
    becomes the same in any batch, and always in float32, also under autocast.

    Arguments
    ---------
    orig_freq : int
        Samples per second.
    speeds : sequence of float
        Speeds in percent, equally likely.

    Example
    -------
    >>> augment = UtteranceSpeeds(orig_freq=16000, speeds=[80])
    >>> wavs, lengths = augment(torch.rand(2, 1000), torch.tensor([1.0, 0.5]))
    >>> wavs.shape, (lengths * 1250).tolist()
    (torch.Size([2, 1250]), [1250.0, 625.0])
    """

    def __init__(self, orig_freq: int, speeds: Sequence[float]):
        with torch.device("cpu"):  # torchaudio cannot build its filters on ``meta``
            super().__init__(orig_freq, speeds)

    def forward(self, wavs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Resample.

        Arguments
        ---------
        wavs : torch.Tensor
            [B, S], zero-padded.
        lengths : torch.Tensor
            Relative lengths [B].

        Returns
        -------
        torch.Tensor
            [B, S'], zero-padded. S samples at speed s, in percent, become the smallest integer that is
            not below 100 S / s.
        torch.Tensor
            Relative lengths [B]; times S' and rounded, they are the numbers of samples.
        """
        self.device = wavs.device  # where the stock class resamples
        samples = torch.round(lengths.double() * wavs.shape[1]).long().tolist()
        with torch.autocast(wavs.device.type, enabled=False):
            pairs = zip(wavs[:, None], samples, strict=True)
            rows = [super(UtteranceSpeeds, self).forward(wav[:, :count])[0] for wav, count in pairs]
        wavs = pad_sequence(rows, batch_first=True)
        return wavs, torch.tensor([len(row) / wavs.shape[1] for row in rows], device=wavs.device)


def spec_augment(
    freq_masks: int,
    freq_widths: Sequence[int],
    time_masks: int,
    time_widths: Sequence[int],
    time_ratio: float | None = None,
) -> Augmenter:
    """Frequency and time masks that replace features by zeros, their mean in normalized utterances.

    Arguments
    ---------
    freq_masks, time_masks : int
        Masks per utterance.
    freq_widths, time_widths : sequence of int
        The least and the greatest width, in bands and frames. Both are drawn, like all widths between
        them; SpeechBrain's ``SpectrogramDrop`` alone never draws its upper limit.
    time_ratio : float, optional
        Limits time masks to this part of their utterance, see :class:`TimeMasks`, which also draws
        widths below the least.

    Returns
    -------
    Augmenter
        Of features [B, T, F] and relative lengths [B].

    Raises
    ------
    ValueError
        If a least width is above its greatest.

    Example
    -------
    >>> augment = spec_augment(freq_masks=2, freq_widths=[0, 27], time_masks=2, time_widths=[0, 100])
    >>> augment(torch.rand(2, 200, 80), torch.ones(2))[0].shape
    torch.Size([2, 200, 80])
    """

    def drop(count, widths, dim):
        low, high = widths
        return SpectrogramDrop(low, high + 1, count, count, replace="zeros", dim=dim)

    time = drop(time_masks, time_widths, 1)
    if time_ratio is not None:
        time = TimeMasks(time_masks, time_widths[1], time_ratio)
    return Augmenter(
        concat_original=False,
        min_augmentations=2,
        max_augmentations=2,
        augmentations=[drop(freq_masks, freq_widths, 2), time],
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
