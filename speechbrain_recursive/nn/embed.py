"""From waveform to the first state: features, front-end, projection, positions."""

import torch
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import make_transformer_src_mask
from torch import nn

from speechbrain_recursive.nn.frontend import FrontEnd
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.state import State


class FilterbankEmbedding(nn.Module):
    """Normalized log-Mel features, a convolutional front-end and a projection to the encoder's width.

    An utterance gives the same frames alone and in any batch.

    Arguments
    ---------
    compute_features : torch.nn.Module
        SpeechBrain's ``Fbank``.
    normalize : torch.nn.Module
        SpeechBrain's ``InputNormalization`` with ``norm_type: sentence``.
    frontend : torch.nn.Module
        SpeechBrain's ``ConvolutionFrontEnd``, or a module that takes and returns frame counts, as
        :class:`~speechbrain_recursive.nn.frontend.FrontEnd` does.
    input_size : int
        Width of the front-end's output.
    d_model : int
        Width of the encoder.
    dropout : float
        After the projection.
    positions : torch.nn.Module, optional
        From State to State, see :mod:`speechbrain_recursive.nn.positions`.

    Raises
    ------
    ValueError
        If the front-end's convolutions do not pad by reflection, or the normalizer keeps statistics,
        which would not travel with the weights.
    """

    least_samples = 1  # of a waveform

    def __init__(
        self,
        compute_features: nn.Module,
        normalize: nn.Module,
        frontend: nn.Module,
        input_size: int,
        d_model: int,
        dropout: float = 0.1,
        positions: nn.Module | None = None,
    ):
        super().__init__()
        if normalize.norm_type != "sentence":
            raise ValueError(f"norm_type is {normalize.norm_type}; the features need sentence")
        self.compute_features = compute_features
        self.normalize = normalize
        self.frontend = FrontEnd(frontend) if isinstance(frontend, ConvolutionFrontEnd) else frontend
        self.project = nn.Linear(input_size, d_model)
        nn.init.xavier_normal_(self.project.weight)  # as SpeechBrain's TransformerASR
        self.dropout = nn.Dropout(dropout)
        self.positions = nn.Identity() if positions is None else positions

    @property
    def sample_rate(self) -> int:
        """Samples per second that the features expect."""
        return self.compute_features.compute_STFT.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds between frames of the first state. Frame k is centered at k times as many.

        It holds for front-ends whose convolutions are centered, as those of
        :mod:`speechbrain_recursive.nn.frontend` are.
        """
        features, frames = self.silence(8)
        with torch.no_grad():
            _, left = self.frontend(features, frames)
        stride = round((int(frames) - 1) / (int(left) - 1))
        return stride * self.compute_features.compute_STFT.hop_length / self.sample_rate

    def features(self, wavs: torch.Tensor, wav_lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalized log-Mel features.

        Arguments
        ---------
        wavs : torch.Tensor
            [B, S], zero-padded.
        wav_lens : torch.Tensor
            Relative lengths [B].

        Returns
        -------
        torch.Tensor
            [B, T, F].
        torch.LongTensor
            Absolute frame counts [B].
        """
        samples = torch.round(wav_lens.double() * wavs.shape[1]).long()
        frames = 1 + samples // self.compute_features.compute_STFT.hop_length
        features = self.compute_features(wavs)
        # The normalizer takes every frame below length * T, so half a frame keeps it off rounding.
        return self.normalize(features, (frames - 0.5) / features.shape[1]), frames

    def silence(self, seconds: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [1, T, F] of silence and their frame count [1], on the module's device."""
        device = self.project.weight.device
        frames = 1 + seconds * self.sample_rate // self.compute_features.compute_STFT.hop_length
        features = torch.zeros(1, frames, self.compute_features.compute_fbanks.n_mels, device=device)
        return features, torch.full((1,), frames, device=device)

    def forward(self, features: torch.Tensor, frames: torch.Tensor, dynchunktrain_config=None) -> State:
        """The encoder's first state.

        Arguments
        ---------
        features : torch.Tensor
            [B, T, F].
        frames : torch.LongTensor
            Absolute frame counts [B].
        dynchunktrain_config : DynChunkTrainConfig, optional
            Chunked attention and convolution.

        Returns
        -------
        State
            With ``x`` [B, T', d], padding, positions and the chunks' mask.
        """
        x, frames = self.frontend(features, frames)
        mask = make_transformer_src_mask(x, causal=False, dynchunktrain_config=dynchunktrain_config)
        extra = {} if dynchunktrain_config is None else {"dynchunktrain_config": dynchunktrain_config}
        pad = pad_mask(frames, x.shape[1])
        # The state keeps the type of the weights: autocast would narrow it.
        x = self.dropout(self.project(x)).to(self.project.weight.dtype)
        return self.positions(State(x, pad=pad, mask=mask, extra=extra))
