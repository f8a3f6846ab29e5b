"""Chunk by chunk equals the whole utterance under the chunk mask."""

import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerASR import make_transformer_src_mask
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import bicycle, latent

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
