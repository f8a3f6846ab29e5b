"""Embedding: features counted in absolute frames, and the encoder's first state."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import make_transformer_src_mask
from speechbrain.nnet.CNN import Conv1d
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.frontend import ConvSubsampling
from speechbrain_recursive.nn.positions import RelativePositions

SAMPLES = [30000, 160 * 38 + 77, 160, 21111, 29999, 16000]


def build(norm_type="sentence", **options):
    torch.manual_seed(0)
    normalize = InputNormalization(norm_type=norm_type)
    return FilterbankEmbedding(Fbank(n_mels=40), normalize, ConvSubsampling(4), 40, 16, **options).eval()


def utterances():
    torch.manual_seed(1)
    return [torch.randn(n) * torch.linspace(0.2, 1.0, n) for n in SAMPLES]


def padded(waves):
    lengths = torch.tensor([len(wave) for wave in waves])
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths / lengths.max()


def test_frame_counts_are_absolute_where_relative_ones_round_wrongly():
    embed = build()
    lengths = torch.arange(1600, 32000, 480)
    wav_lens = lengths.float() / 31999
    assert (wav_lens.double() * 31999 < lengths).any(), "cutting off would lose a frame"
    _, frames = embed.features(torch.zeros(len(lengths), 31999), wav_lens)
    assert frames.tolist() == [1 + n // 160 for n in lengths.tolist()]


def test_other_rows_do_not_change_a_features_normalization():
    embed = build()
    wavs, wav_lens = padded(utterances())
    features, frames = embed.features(wavs, wav_lens)
    for row, wave in enumerate(utterances()):
        alone, count = embed.features(wave[None], torch.ones(1))
        assert count == frames[row] == alone.shape[1]
        torch.testing.assert_close(features[row, :count], alone[0], atol=1e-4, rtol=1e-4)


def test_refuses_a_normalizer_whose_statistics_would_not_travel():
    with pytest.raises(ValueError, match="norm_type is global"):
        build(norm_type="global")


def test_the_first_state():
    embed = build(positions=RelativePositions(16))
    with torch.no_grad():
        state = embed(*embed.features(*padded(utterances())))
        x, frames = embed.frontend(*embed.features(*padded(utterances())))
    assert state.x.shape == (6, 47, 16)
    assert state.pos.shape == (1, 93, 16)
    assert state.mask is None
    assert state.extra == {}
    assert torch.equal(state.x, embed.project(x))
    assert torch.equal(state.frames, frames)
    assert state.frames.tolist() == [47, 10, 1, 33, 47, 26]


def test_chunks_come_with_their_mask():
    embed, config = build(), DynChunkTrainConfig(4, 2)
    state = embed(torch.randn(1, 80, 40), torch.tensor([80]), config)
    assert state.extra == {"dynchunktrain_config": config}
    assert torch.equal(
        state.mask, make_transformer_src_mask(state.x, causal=False, dynchunktrain_config=config)
    )


def test_the_projection_is_initialized_as_speechbrains():
    torch.manual_seed(0)
    embed = FilterbankEmbedding(
        Fbank(n_mels=40), InputNormalization(norm_type="sentence"), ConvSubsampling(4), 200, 100
    )
    assert embed.project.weight.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.05)


def test_dropout_is_after_the_projection_and_before_the_positions():
    embed = build(dropout=1.0 - 1e-6).train()
    assert embed(torch.randn(1, 40, 40), torch.tensor([40])).x.eq(0).all()


def test_silence_has_the_shape_of_features():
    embed = build()
    for seconds in (1, 10):
        features, frames = embed.silence(seconds)
        expected, counts = embed.features(torch.zeros(1, seconds * 16000), torch.ones(1))
        assert features.shape == expected.shape
        assert frames.tolist() == counts.tolist()
    assert embed.sample_rate == 16000


def convolutional(kernel, strides=(2, 2)):
    count = len(strides)
    return ConvolutionFrontEnd(
        input_shape=(None, None, 40),
        num_blocks=count,
        num_layers_per_block=1,
        out_channels=[8] * count,
        kernel_sizes=[kernel] * count,
        strides=strides,
        residuals=[False] * count,
        conv_module=Conv1d,
    )


@pytest.mark.parametrize(
    ("frontend", "width", "seconds"),
    [
        (ConvSubsampling(4), 40, 0.04),
        (convolutional(3), 8, 0.04),
        (convolutional(5), 8, 0.04),
        (convolutional(5, (2, 1)), 8, 0.02),
        (convolutional(3, (3, 1)), 8, 0.03),
    ],
)
def test_centers_of_frames_in_seconds(frontend, width, seconds):
    """Frame k depends on as many features before as after those at k times the seconds of a frame."""
    torch.manual_seed(0)
    normalize = InputNormalization(norm_type="sentence")
    embed = FilterbankEmbedding(Fbank(n_mels=40), normalize, frontend, width, 16).eval()
    assert embed.frame_seconds == pytest.approx(seconds)
    features = torch.randn(1, 101, 40, requires_grad=True)
    k = 9
    embed(features, torch.tensor([101])).x[0, k].square().sum().backward()
    reached = features.grad[0].abs().sum(-1).nonzero()
    assert (reached.min() + reached.max()) / 2 * 0.01 == pytest.approx(k * seconds)


def test_features_are_centered_too():
    """A click is loudest in the feature frame at its own time."""
    embed, wave = build(), torch.zeros(16000)
    wave[160 * 37] = 1.0
    assert embed.features(wave[None], torch.ones(1))[0][0].mean(-1).argmax() == 37
