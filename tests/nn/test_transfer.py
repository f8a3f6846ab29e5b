"""Stock checkpoints start an ASR model."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.nnet.linear import Linear
from speechbrain.processing.features import InputNormalization
from torch import nn

from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.heads import CTCHead, Seq2SeqHead
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.positions import positions_for
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import latent, standard
from speechbrain_recursive.nn.transfer import warm_start

SIZES = {"nhead": 2, "d_ffn": 32}
BOTH = Request(["ctc", "seq2seq"])


def front_end():
    return ConvolutionFrontEnd((8, 10, 80), 2, 1, [4, 4], [3, 3], [2, 2], [1, 1], [False, False])


@pytest.fixture
def stock():
    """The model of a SpeechBrain recipe with three encoder layers."""
    torch.manual_seed(1)
    transformer = TransformerASR(
        12, 80, num_encoder_layers=3, d_model=16, num_decoder_layers=1, causal=False,
        normalize_before=True, **SIZES,
    )  # fmt: skip
    heads = [Linear(input_size=16, n_neurons=12) for _ in range(2)]
    return nn.ModuleList([front_end(), transformer, *heads])


@pytest.fixture
def model():
    torch.manual_seed(2)
    normalize = InputNormalization(norm_type="sentence")
    positions = positions_for("regularMHA", 16)
    embed = FilterbankEmbedding(Fbank(n_mels=80), normalize, front_end(), 80, 16, positions=positions)
    encoder = RecursiveEncoder(stock_layers(3, 16, **SIZES), latent(1, 2, 1, 1))
    heads = {"ctc": CTCHead(16, 12), "seq2seq": Seq2SeqHead(16, 12, num_layers=1, **SIZES)}
    return ASRModel(embed, encoder, heads)


def test_the_model_of_a_stock_recipe(stock, model):
    """Its front-end gives four dimensions, which the stock transformer flattens."""
    warm_start(model, stock.state_dict())
    convs, transformer, seq_lin, ctc_lin = stock
    features, tokens = torch.rand(2, 40, 80), torch.ones(2, 4, dtype=torch.long)
    frames = torch.tensor([40, 40])
    model.eval(), stock.eval()
    ours = model.from_features(features, frames, {"tokens_bos": tokens}, model.depth(1), BOTH)
    assert convs(features).dim() == 4
    encoded, decoded = transformer(convs(features), tokens)
    torch.testing.assert_close(ours.log_probs, ctc_lin(encoded).log_softmax(-1))
    torch.testing.assert_close(ours.decoded, seq_lin(decoded).log_softmax(-1))


def test_a_transformer_alone_leaves_front_end_and_output_layers(stock, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    warm_start(model, stock[1].state_dict())
    after = model.state_dict()
    kept = [name for name in after if name.startswith(("embed.frontend.", "embed.compute_features."))]
    kept += [name for name in after if "linear." in name and name.startswith(("heads.ctc", "heads.seq"))]
    kept = [name for name in kept if ".decoder." not in name]
    assert len(kept) > 4
    for name in kept:
        assert torch.equal(after[name], before[name]), name
    theirs = stock[1].state_dict()
    for prefix, ours in [
        ("encoder.", "encoder."),
        ("decoder.", "heads.seq2seq.decoder."),
        ("custom_src_module.layers.0.w.", "embed.project."),
        ("custom_tgt_module.layers.0.", "heads.seq2seq.embedding."),
    ]:
        names = [name for name in theirs if name.startswith(prefix)]
        assert names
        for name in names:
            assert torch.equal(after[ours + name.removeprefix(prefix)], theirs[name]), name


def test_from_a_file_for_every_family(theirs, ours, asr_kind, tmp_path):
    """Every weight of the stock transformer has its place; only output layers are left over."""
    theirs = theirs(3, *asr_kind)
    torch.save(theirs.state_dict(), tmp_path / "model.ckpt")
    model = ours(standard(3), *asr_kind)
    src, frames = torch.randn(2, 11, 12), torch.tensor([11, 11])
    with torch.no_grad():
        expected = theirs.encode(src, torch.ones(2))
        assert not torch.equal(model.from_features(src, frames).encoded, expected)
        warm_start(model, torch.load(tmp_path / "model.ckpt"))
        assert torch.equal(model.from_features(src, frames).encoded, expected)
    count = sum(parameter.numel() for parameter in theirs.parameters())
    heads = sum(p.numel() for head in model.heads.values() for p in head.linear.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == count + heads


def test_our_own_weights(model):
    weights = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    warm_start(model, weights)
    assert all(not value.any() for value in model.state_dict().values())


def test_a_layer_too_many_is_named(stock, model):
    weights = stock.state_dict() | {"1.encoder.layers.3.norm1.norm.weight": torch.zeros(16)}
    with pytest.raises(RuntimeError, match=r"encoder\.layers\.3\.norm1"):
        warm_start(model, weights)
