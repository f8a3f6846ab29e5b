"""wav2vec 2.0 and HuBERT, as Hugging Face's ``transformers`` builds them, in the parts of a model."""

from typing import Any, NamedTuple

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hub import import_transformers
from speechbrain_recursive.nn.adapters import TransformerAdapter
from speechbrain_recursive.nn.padding import own_statistics, pad_mask, padding
from speechbrain_recursive.nn.state import State


class SSLParts(NamedTuple):
    """``embed`` maps waveforms to the first state, ``layers`` is for ``RecursiveEncoder``."""

    embed: "WaveformEmbedding"
    layers: "SSLLayers"


def ssl_parts(
    model_type: str,
    sample_rate: int = 16000,
    normalize: bool = True,
    freeze_extractor: bool = False,
    **options: Any,
) -> SSLParts:
    """Build a model from its configuration, with random weights.

    Arguments
    ---------
    model_type : str
        ``wav2vec2`` or ``hubert``.
    sample_rate, normalize, freeze_extractor
        See :class:`WaveformEmbedding`.
    **options
        Of ``Wav2Vec2Config`` or ``HubertConfig``, such as ``num_hidden_layers``.

    Returns
    -------
    SSLParts

    Raises
    ------
    UserError
        If ``transformers`` is missing, there is no such type or option, or a norm follows the last
        layer, as in the large models.

    Example
    -------
    >>> from speechbrain_recursive.nn.encoder import RecursiveEncoder
    >>> from speechbrain_recursive.nn.schedule import unfold
    >>> sizes = {"hidden_size": 16, "num_attention_heads": 2, "conv_dim": [8] * 7}
    >>> embed, layers = ssl_parts("hubert", num_hidden_layers=2, **sizes)
    >>> state = embed(*embed.features(torch.rand(1, 16000), torch.ones(1)))
    >>> encoder = RecursiveEncoder(layers, unfold(2, depth=5))
    >>> encoder.run(state).state.x.shape, embed.frame_seconds
    (torch.Size([1, 49, 16]), 0.02)
    """
    stock = stock_model(model_type, **options)
    return SSLParts(WaveformEmbedding(stock, sample_rate, normalize, freeze_extractor), SSLLayers(stock))


def stock_model(model_type: str, **options: Any) -> nn.Module:
    """Hugging Face's ``Wav2Vec2Model`` or ``HubertModel``; see :func:`ssl_parts`."""
    transformers = import_transformers()
    kinds = {"wav2vec2": transformers.Wav2Vec2Model, "hubert": transformers.HubertModel}
    if model_type not in kinds:
        raise UserError(f"model_type is {' or '.join(kinds)}, not {model_type!r}")
    kind = kinds[model_type]
    known = kind.config_class().to_dict()
    for name in options:
        if name not in known:
            raise UserError(f"{kind.config_class.__name__} has no option {name}")
    config = kind.config_class(**options)
    if config.do_stable_layer_norm:
        raise UserError("do_stable_layer_norm: a norm after the last layer is not supported")
    model = kind(config)
    if hasattr(model, "masked_spec_embed"):  # which was not built on the device of the context
        model.masked_spec_embed = nn.Parameter(torch.rand(config.hidden_size))
    return model


class WaveformEmbedding(nn.Module):
    """From waveform to the first state, by the parts that a stock model has before its layers.

    These are the convolutional feature extractor, the projection, the positional convolution and the
    layer norm. An utterance gives the same frames alone and in any batch: the extractor's group norm
    takes the statistics of each utterance's own frames.

    In training, spans of frames are replaced by the model's mask vector. Each frame begins a span of
    ``mask_time_length`` frames with a probability of ``mask_time_prob / mask_time_length``.

    Arguments
    ---------
    stock : torch.nn.Module
        Hugging Face's ``Wav2Vec2Model`` or ``HubertModel``.
    sample_rate : int
        Samples per second that it expects.
    normalize : bool
        Bring each waveform to mean 0 and variance 1, as ``do_normalize`` of Hugging Face's feature
        extractor does.
    freeze_extractor : bool
        Do not train the convolutional feature extractor.
    """

    def __init__(
        self,
        stock: nn.Module,
        sample_rate: int = 16000,
        normalize: bool = True,
        freeze_extractor: bool = False,
    ):
        super().__init__()
        self.config = stock.config
        self.sample_rate = sample_rate
        self.normalize = normalize
        self.feature_extractor = stock.feature_extractor.requires_grad_(not freeze_extractor)
        self.feature_projection = stock.feature_projection
        self.pos_conv_embed = stock.encoder.pos_conv_embed
        self.layer_norm = stock.encoder.layer_norm
        self.dropout = stock.encoder.dropout
        self.masked_spec_embed = getattr(stock, "masked_spec_embed", None)
        self.shapes = list(zip(stock.config.conv_kernel, stock.config.conv_stride, strict=True))
        for module in self.feature_extractor.modules():
            if isinstance(module, nn.GroupNorm):
                own_statistics(module)

    @property
    def frame_seconds(self) -> float:
        """Seconds between frames of the first state."""
        hop = 1
        for _, stride in self.shapes:
            hop *= stride
        return hop / self.sample_rate

    @property
    def least_samples(self) -> int:
        """Samples that one frame sees; shorter waveforms are padded."""
        least = 1
        for kernel, stride in reversed(self.shapes):
            least = (least - 1) * stride + kernel
        return least

    def features(self, wavs: torch.Tensor, wav_lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalized waveforms.

        Arguments
        ---------
        wavs : torch.Tensor
            [B, S], padded.
        wav_lens : torch.Tensor
            Relative lengths [B].

        Returns
        -------
        torch.Tensor
            [B, S'], zero-padded. S' is S, or what one frame needs.
        torch.LongTensor
            Absolute counts of samples [B], at least what one frame needs.
        """
        samples = torch.round(wav_lens.double() * wavs.shape[1]).long()
        pad = pad_mask(samples, wavs.shape[1])
        wavs = wavs.masked_fill(pad, 0.0)
        if self.normalize:
            count = samples.clamp(min=1)[:, None]
            centered = (wavs - wavs.sum(1, keepdim=True) / count).masked_fill(pad, 0.0)
            wavs = centered / (centered.square().sum(1, keepdim=True) / count + 1e-7).sqrt()
        least = self.least_samples
        wavs = nn.functional.pad(wavs, (0, max(0, least - wavs.shape[1])))
        return wavs, samples.clamp(min=least)

    def silence(self, seconds: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A waveform [1, S] of silence and its count of samples [1], on the module's device."""
        device, samples = self.layer_norm.weight.device, seconds * self.sample_rate
        return torch.zeros(1, samples, device=device), torch.full((1,), samples, device=device)

    def forward(
        self, features: torch.Tensor, samples: torch.Tensor, dynchunktrain_config: Any = None
    ) -> State:
        """The encoder's first state.

        Arguments
        ---------
        features : torch.Tensor
            Normalized waveforms [B, S].
        samples : torch.LongTensor
            Absolute counts of samples [B].
        dynchunktrain_config : None
            There are no dynamic chunks.

        Returns
        -------
        State
            With ``x`` [B, T, d] and padding.

        Raises
        ------
        ValueError
            If dynamic chunks are asked for.
        """
        if dynchunktrain_config is not None:
            raise ValueError("wav2vec 2.0 and HuBERT have no dynamic chunks; use a Conformer")
        x, frames = features[:, None], samples
        for layer, (kernel, stride) in zip(self.feature_extractor.conv_layers, self.shapes, strict=True):
            frames = (frames - kernel) // stride + 1
            with padding(frames):
                x = layer(x)
        x = self.feature_projection(x.transpose(1, 2))
        x = x[0] if isinstance(x, tuple) else x  # wav2vec2's returns its input's norm as well
        pad = pad_mask(frames, x.shape[1])
        x = self._mask(x).masked_fill(pad[..., None], 0.0)
        x = self.dropout(self.layer_norm(x + self.pos_conv_embed(x)))
        # The state keeps the type of the weights: autocast would narrow it.
        return State(x.to(self.layer_norm.weight.dtype), pad=pad)

    def _mask(self, x):
        """Replace spans of frames by the mask vector, in training."""
        if not self.training or self.masked_spec_embed is None:
            return x
        span = self.config.mask_time_length
        starts = torch.rand(x.shape[:2], device=x.device) < self.config.mask_time_prob / span
        spans = nn.functional.pad(starts, (span - 1, 0)).unfold(1, span, 1).any(-1)
        return torch.where(spans[..., None], self.masked_spec_embed.to(x.dtype), x)


class SSLLayers(nn.Module):
    """The layers of a stock model, for ``RecursiveEncoder``.

    Arguments
    ---------
    stock : torch.nn.Module
        Hugging Face's ``Wav2Vec2Model`` or ``HubertModel``. What follows its layers is the dropout
        before its CTC head.
    """

    output_hidden_states = False
    layerdrop_prob = 0.0

    def __init__(self, stock: nn.Module):
        super().__init__()
        self.layers = stock.encoder.layers
        self.norm = nn.Dropout(stock.config.final_dropout)
        self.adapter = SSLAdapter()


class SSLAdapter(TransformerAdapter):
    """Calls Hugging Face's wav2vec 2.0 and HuBERT layers, whose padding does not leak."""

    def call(self, state: State, layer: nn.Module) -> tuple[torch.Tensor, None]:
        """Apply one layer. Fused attention returns no weights."""
        mask = None
        if state.pad is not None:
            scores = torch.zeros(state.pad.shape, dtype=state.x.dtype, device=state.x.device)
            mask = scores.masked_fill(state.pad, torch.finfo(scores.dtype).min)[:, None, None]
        x = layer(state.x, attention_mask=mask)
        return (x[0] if isinstance(x, tuple) else x), None  # a tuple before transformers 5
