"""Features that do not depend on the rest of the recording, for streaming."""

from collections.abc import Iterable

import torch
from speechbrain.lobes.features import Fbank
from torch import nn

from speechbrain_recursive.errors import UserError


class LocalFbank(Fbank):
    """SpeechBrain's log-Mel features without their limit.

    SpeechBrain raises features to 80 dB below the maximum of the whole recording, which is not known
    while it goes on. Here, only the absolute limit of -100 dB remains.

    Example
    -------
    >>> wav = torch.cat([torch.randn(1, 1600), 1e-6 * torch.randn(1, 1600)], 1)
    >>> quiet = slice(13, 20)
    >>> torch.equal(LocalFbank()(wav)[:, quiet], LocalFbank()(wav[:, 1600:])[:, 3:10])
    True
    >>> torch.equal(Fbank()(wav)[:, quiet], Fbank()(wav[:, 1600:])[:, 3:10])
    False
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.compute_fbanks.top_db = float("inf")


class FixedNormalization(nn.Module):
    """Subtracts the mean of each band and divides by its standard deviation, as found in training data.

    The statistics are buffers: they travel with the weights, and training does not change them.

    Arguments
    ---------
    n_mels : int
        Number of bands, F.

    Example
    -------
    >>> normalize = FixedNormalization(2)
    >>> normalize.fit([torch.tensor([[[1.0, 0.0], [3.0, 4.0]]])])
    >>> normalize(torch.tensor([[[2.0, 4.0]]]))
    tensor([[[0., 1.]]])
    """

    norm_type = "fixed"

    def __init__(self, n_mels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.zeros(n_mels))

    @property
    def fitted(self) -> bool:
        """Whether there are statistics."""
        return bool(self.std.any())

    @torch.no_grad()
    def fit(self, features: Iterable[torch.Tensor]) -> None:
        """Take the statistics of utterances.

        Arguments
        ---------
        features : iterable of torch.Tensor
            Each [B, T, F], without padding.
        """
        count, total, squares = 0, 0.0, 0.0
        for each in features:
            each = each.flatten(0, 1).double()
            count, total, squares = (
                count + len(each),
                total + each.sum(0),
                squares + each.square().sum(0),
            )
        mean = total / count
        self.mean.copy_(mean)
        self.std.copy_((squares / count - mean.square()).clamp(min=1e-6).sqrt())

    def forward(self, features: torch.Tensor, wav_lens: torch.Tensor | None = None) -> torch.Tensor:
        """Normalize features [B, T, F].

        Raises
        ------
        UserError
            If there are no statistics.
        """
        if not features.is_meta and not self.fitted:
            raise UserError(
                "the features have no statistics yet: train.py takes them from the training data, or "
                "--warm_start from another model"
            )
        return (features - self.mean) / self.std
