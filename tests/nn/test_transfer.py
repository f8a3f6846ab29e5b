"""Stock checkpoints start an ASR model."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.nnet.linear import Linear
from speechbrain.processing.features import InputNormalization
from torch import nn

from speechbrain_recursive.nn.asr import RecursiveTransformerASR
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.schedule import latent
from speechbrain_recursive.nn.transfer import warm_start

SIZES = {"d_model": 16, "nhead": 2, "d_ffn": 32, "num_decoder_layers": 1, "causal": False}


def front_end():
    return ConvolutionFrontEnd((8, 10, 80), 2, 1, [4, 4], [3, 3], [2, 2], [1, 1], [False, False])


@pytest.fixture
def stock():
    """The model of a SpeechBrain recipe with three encoder layers."""
    torch.manual_seed(1)
    transformer = TransformerASR(12, 80, num_encoder_layers=3, **SIZES)
    heads = [Linear(input_size=16, n_neurons=12) for _ in range(2)]
    return nn.ModuleList([front_end(), transformer, *heads])


@pytest.fixture
def model():
    torch.manual_seed(2)
    transformer = RecursiveTransformerASR(12, 80, latent(1, 2, 1, 1), **SIZES)
    normalize = InputNormalization(norm_type="sentence")
    return ASRModel(Fbank(n_mels=80), normalize, front_end(), transformer, 16, 12)


def test_the_model_of_a_stock_recipe(stock, model):
    warm_start(model, stock.state_dict())
    convs, transformer, seq_lin, ctc_lin = stock
    features = torch.rand(2, 40, 80)
    frames = torch.tensor([40, 40])
    model.eval(), stock.eval()
    ours = model.from_features(features, frames, torch.ones(2, 4, dtype=torch.long), loops=1)
    encoded, decoded = transformer(convs(features), torch.ones(2, 4, dtype=torch.long))
    torch.testing.assert_close(ours.log_probs, ctc_lin(encoded).log_softmax(-1))
    torch.testing.assert_close(ours.decoded, seq_lin(decoded).log_softmax(-1))


def test_a_transformer_alone_leaves_the_heads(stock, model):
    before = model.ctc_lin.weight.clone()
    warm_start(model, stock[1].state_dict())
    assert torch.equal(model.ctc_lin.weight, before)
    for name, value in stock[1].state_dict().items():
        assert torch.equal(model.transformer.state_dict()[name], value)


def test_our_own_weights(model):
    weights = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    warm_start(model, weights)
    assert all(not value.any() for value in model.state_dict().values())


def test_a_layer_too_many_is_named(stock, model):
    weights = stock.state_dict() | {"1.encoder.layers.3.norm1.norm.weight": torch.zeros(16)}
    with pytest.raises(RuntimeError, match=r"encoder\.layers\.3\.norm1"):
        warm_start(model, weights)
