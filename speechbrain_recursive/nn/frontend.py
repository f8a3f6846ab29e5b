"""Convolutional front-ends that return frame counts and do not let padding leak into real frames."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.nnet.CNN import Conv1d, Conv2d
from torch import nn

from speechbrain_recursive.nn.padding import geometry, pad_mask, padding, reflect_own_end


class Context(NamedTuple):
    """What frame j reads: features from ``stride * j - left`` to ``stride * j + right``."""

    stride: int
    left: int
    right: int

    @classmethod
    def of(cls, shapes: Iterable[tuple[int, int, int]]) -> "Context":
        """Of convolutions, each by the extent of its kernel, its stride and its one-sided padding.

        Example
        -------
        >>> Context.of([(5, 2, 2), (5, 2, 2)])
        Context(stride=4, left=6, right=6)
        """
        stride, left, right = 1, 0, 0
        for extent, step, reach in reversed([*shapes]):
            stride, left, right = stride * step, left * step + reach, right * step + extent - 1 - reach
        return cls(stride, left, right)


class FrontEnd(nn.Module):
    """SpeechBrain's ``ConvolutionFrontEnd`` with absolute frame counts.

    Arguments
    ---------
    convs : speechbrain.lobes.models.convolution.ConvolutionFrontEnd
        Of ``Conv1d`` or ``Conv2d`` layers with ``same`` padding.

    Raises
    ------
    ValueError
        If its convolutions do not pad by reflection.

    Example
    -------
    >>> convs = ConvolutionFrontEnd((None, None, 80), 2, 1, [8, 8], [3, 3], [2, 2], [1, 1], [False] * 2)
    >>> x, frames = FrontEnd(convs)(torch.rand(2, 100, 80), torch.tensor([100, 61]))
    >>> x.shape, frames.tolist()
    (torch.Size([2, 25, 160]), [25, 16])
    """

    def __init__(self, convs: ConvolutionFrontEnd):
        super().__init__()
        self.convs = convs
        for layer in self._layers():
            reflect_own_end(layer)

    @property
    def context(self) -> Context:
        """What a frame reads."""
        return Context.of(map(geometry, self._layers()))

    def _layers(self):
        layers = (layer for block in self.convs.children() for layer in block.convs.children())
        return [layer for layer in layers if isinstance(layer, (Conv1d, Conv2d))]

    def forward(self, features: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Subsample features.

        Arguments
        ---------
        features : torch.Tensor
            [B, T, F].
        frames : torch.LongTensor
            Absolute frame counts [B].

        Returns
        -------
        torch.Tensor
            [B, T', C], channels and frequencies flattened.
        torch.LongTensor
            Absolute frame counts [B] after subsampling.
        """
        with padding(frames) as left:
            x = self.convs(features)
            return x.flatten(2), left()


class ConvSubsampling(nn.Module):
    """Two 3x3 convolutions of stride 2 with SiLU: four times fewer frames (LARM, Appendix B.1).

    Frames past the end of an utterance are set to zero, so that its output does not depend on the batch.

    Arguments
    ---------
    channels : int
        Output channels of both convolutions.

    Example
    -------
    >>> x, frames = ConvSubsampling(4)(torch.rand(2, 101, 80), torch.tensor([101, 60]))
    >>> x.shape, frames.tolist()
    (torch.Size([2, 26, 80]), [26, 15])
    """

    def __init__(self, channels: int = 64):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(size, channels, kernel_size=3, stride=2, padding=1) for size in (1, channels)
        )

    @property
    def context(self) -> Context:
        """What a frame reads."""
        return Context.of([(3, 2, 1)] * len(self.convs))

    def forward(self, features: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Subsample.

        Arguments
        ---------
        features : torch.Tensor
            [B, T, F].
        frames : torch.LongTensor
            Absolute frame counts [B].

        Returns
        -------
        torch.Tensor
            [B, ceil(T / 4), channels * ceil(F / 4)].
        torch.LongTensor
            Absolute frame counts [B] after subsampling.
        """
        x = features[:, None]
        for conv in self.convs:
            x = x.masked_fill(pad_mask(frames, x.shape[2])[:, None, :, None], 0.0)
            x = nn.functional.silu(conv(x))
            frames = (frames + 1) // 2
        return x.transpose(1, 2).flatten(2), frames
