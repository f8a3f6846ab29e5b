"""Chunk by chunk equals the whole utterance under the chunk mask."""

import itertools

import pytest
import torch
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import make_transformer_src_mask
from speechbrain.nnet.CNN import Conv1d
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.conditioning.lora import LoopLoRA
from speechbrain_recursive.nn.conditioning.zero_token import ZeroToken
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.frontend import ConvSubsampling
from speechbrain_recursive.nn.heads import CTCHead
from speechbrain_recursive.nn.larm import conditioning
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.normalize import FixedNormalization, LocalFbank
from speechbrain_recursive.nn.positions import RelativePositions
from speechbrain_recursive.nn.schedule import bicycle, latent
from speechbrain_recursive.nn.streaming import ModelStream

SCHEDULE = latent(2, 3, 1, 1)


@pytest.fixture
def net(theirs):
    """``net(schedule)``: SpeechBrain's own streaming code around our encoder."""

    def build(schedule=SCHEDULE):
        net = theirs(schedule.n_layers, "conformer", "RelPosMHAXL")
        for name, parameter in net.named_parameters():
            if "conv" in name and parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        net.encoder = RecursiveEncoder(net.encoder, schedule)
        return net.eval()

    return build


def whole(net, src, config, loops):
    """The whole utterance at once, under the chunks' mask if there are any."""
    x = net.custom_src_module(src)
    mask = make_transformer_src_mask(x, causal=False, dynchunktrain_config=config)
    pos = net.positional_encoding(x)
    return net.encoder(x, mask, pos_embs=pos, dynchunktrain_config=config, loops=loops)[0]


@pytest.mark.parametrize("left", [1, 3])
@pytest.mark.parametrize(
    ("schedule", "loops"),
    [
        *((SCHEDULE, loops) for loops in (None, 1, 2, 5)),
        (bicycle(2, 2, 2, 2), {"phonetic": 3, "linguistic": 1}),
    ],
)
def test_equals_masked(net, schedule, loops, left):
    net, config = net(schedule), DynChunkTrainConfig(4, left)
    torch.manual_seed(2)
    src = torch.randn(2, 22, 12)
    with torch.no_grad():
        masked = whole(net, src, config, loops)
        assert not torch.allclose(masked, whole(net, src, None, loops), atol=1e-2)
        context = net.make_streaming_context(config, encoder_kwargs={"loops": loops})
        chunks = [net.encode_streaming(chunk, context) for chunk in src.split(4, dim=1)]
    torch.testing.assert_close(torch.cat(chunks, 1), masked, atol=1e-5, rtol=1e-4)


def test_one_context_for_each_logical_step(net):
    net, config = net(), DynChunkTrainConfig(4, 2)
    assert len(net.make_streaming_context(config).encoder_context.layers) == 8
    context = net.make_streaming_context(config, encoder_kwargs={"loops": 5}).encoder_context
    assert len(context.layers) == 12
    assert len({id(layer) for layer in context.layers}) == 12
    assert context.depth == Depth.of(SCHEDULE, 5)
    assert str(context.depth.schedule) == "0 | (1-2)x5 | 3"


@pytest.fixture
def model():
    """``model(schedule, hooks)``: a whole model that streams, with convolutions that reach far."""

    def build(schedule=SCHEDULE, hooks=None, frontend=None):
        torch.manual_seed(0)
        layers = stock_layers(
            schedule.n_layers,
            d_model=16,
            encoder_module="conformer",
            nhead=2,
            d_ffn=32,
            kernel_size=7,
            attention_type="RelPosMHAXL",
        )
        normalize = FixedNormalization(12)
        normalize.fit([3 * torch.randn(1, 50, 12) - 20])
        frontend = frontend or ConvolutionFrontEnd(
            (None, None, 12), 2, 1, [16, 16], [5, 5], [2, 2], [1, 1], [False] * 2, conv_module=Conv1d
        )
        size = 16 if isinstance(frontend, ConvolutionFrontEnd) else 12
        embed = FilterbankEmbedding(
            LocalFbank(n_mels=12), normalize, frontend, size, 16, positions=RelativePositions(16)
        )
        encoder = RecursiveEncoder(layers, schedule, hooks)
        model = ASRModel(embed, encoder, {"ctc": CTCHead(16, 9)}).eval()
        for name, parameter in model.named_parameters():
            if "norm" not in name and (parameter.dim() != 1 or not parameter.any()):
                torch.nn.init.normal_(parameter, std=0.2)
        return model

    return build


HOOKS = {
    "none": None,
    "LARM": {"recurrent": conditioning(16, 9, 3, 1)},
    "LoRA": {"recurrent": [LoopLoRA(3, rank=2)]},
}


def streamed(model, wav, config, depth, pieces):
    """Log-posteriors of a waveform in pieces of changing size."""
    stream, found = ModelStream(model, config, depth), []
    sizes = itertools.cycle(pieces)
    while len(wav):
        size = next(sizes)
        found.append(stream.feed(wav[:size]))
        wav = wav[size:]
        assert len(stream.samples) < 8000 + size
    return torch.cat([*found, stream.finish()])


@pytest.mark.parametrize("chunk", [3, 8, 16])
@pytest.mark.parametrize("loops", [1, 3, 6])
@pytest.mark.parametrize("hooks", HOOKS)
def test_a_waveform_in_pieces_is_the_whole_under_the_mask(model, hooks, loops, chunk):
    model = model(hooks=HOOKS[hooks])
    config, depth = DynChunkTrainConfig(chunk, 2), model.depth(loops)
    wav = torch.randn(37123) * torch.linspace(0.001, 1, 37123)
    with torch.no_grad():
        whole = model(wav[None], torch.ones(1), depth=depth, dynchunktrain_config=config).log_probs[0]
        full = model(wav[None], torch.ones(1), depth=depth).log_probs[0]
    assert (whole - full).abs().max() > 0.01
    found = streamed(model, wav, config, depth, [1, 160, 3000, 777, 9000])
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [1, 100, 399, 640, 1280, 5121])
@pytest.mark.parametrize("frontend", ["stock", "LARM"])
def test_short_waveforms_and_borders(model, samples, frontend):
    model = model(frontend=ConvSubsampling(4) if frontend == "LARM" else None)
    config, wav = DynChunkTrainConfig(4, 1), torch.randn(samples)
    with torch.no_grad():
        whole = model(wav[None], torch.ones(1), dynchunktrain_config=config).log_probs[0]
    for pieces in ([1000], [7]):
        found = streamed(model, wav, config, None, pieces)
        torch.testing.assert_close(found, whole, atol=1e-4, rtol=0)


def test_nothing_is_heard_in_nothing(model):
    assert ModelStream(model(), DynChunkTrainConfig(4, 1)).finish().shape == (0, 9)


def test_look_ahead_is_what_a_frame_waits_for(model):
    stream = ModelStream(model(), DynChunkTrainConfig(1, 1))
    assert stream.look_ahead == pytest.approx((6 * 160 + 200) / 16000)
    need = round(stream.look_ahead * 16000)
    assert len(stream.feed(torch.randn(need - 1))) == 0
    assert len(stream.feed(torch.randn(1))) == 1


def broken(model, what):
    if what == "ZeroToken":
        model.encoder.add_hook("recurrent", ZeroToken(3))
    elif what == "normalized":
        model.embed.normalize = InputNormalization(norm_type="sentence")
    elif what == "loudest":
        model.embed.compute_features.compute_fbanks.top_db = 80.0
    elif what == "attend":
        model.encoder.layers = torch.nn.ModuleList([torch.nn.Identity()])
    return model


@pytest.mark.parametrize("what", ["ZeroToken", "normalized", "loudest", "attend"])
def test_what_cannot_stream_is_named(model, what):
    with pytest.raises(UserError, match=rf"cannot stream: .*{what}.*; recipes built on streaming.yaml"):
        ModelStream(broken(model(), what), DynChunkTrainConfig(4, 1))
