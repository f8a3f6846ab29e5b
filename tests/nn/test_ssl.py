"""wav2vec 2.0 and HuBERT in parts: what Hugging Face computes, at any depth and in any batch."""

import copy
import sys

import pytest
import torch
from transformers import HubertModel, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from speechbrain_recursive.analysis.cost import multiply_adds_per_second, training_step_activation_bytes
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.heads import CTCHead
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.request import Request, Run
from speechbrain_recursive.nn.schedule import standard, unfold
from speechbrain_recursive.nn.ssl import SSLLayers, WaveformEmbedding, ssl_parts, stock_model

KINDS = {"wav2vec2": Wav2Vec2Model, "hubert": HubertModel}
SMALL = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
}
SAMPLES = [16000, 12345, 400, 9000, 7, 15999]  # one frame needs 400


def in_parts(stock, schedule=None, **options):
    schedule = schedule or standard(len(stock.encoder.layers))
    encoder = RecursiveEncoder(SSLLayers(stock), schedule)
    head = CTCHead(stock.config.hidden_size, 30)
    return ASRModel(WaveformEmbedding(stock, **options), encoder, {"ctc": head}).eval()


def leaky(kind, **options):
    """A stock model whose padding shows wherever it leaks."""
    torch.manual_seed(0)
    stock = stock_model(kind, **SMALL | options).eval()
    for parameter in stock.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return stock


def utterances():
    torch.manual_seed(1)
    return [0.3 + torch.randn(n) * torch.linspace(0.2, 1.0, n) for n in SAMPLES]


def padded(waves):
    lengths = torch.tensor([len(wave) for wave in waves])
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths / lengths.max()


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_standard_is_hugging_faces_own_model_to_the_bit(kind, norm):
    stock = leaky(kind, feat_extract_norm=norm)
    model = in_parts(copy.deepcopy(stock))
    features, samples = model.embed.features(utterances()[0][None], torch.ones(1))
    assert torch.equal(model.from_features(features, samples).encoded, stock(features).last_hidden_state)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_standard_in_the_layout_of_the_base_models(kind):
    torch.manual_seed(0)
    stock = stock_model(kind, num_hidden_layers=2).eval()
    assert type(stock) is KINDS[kind]
    model, wave = in_parts(copy.deepcopy(stock)), torch.randn(1, 8000)
    outputs = model.from_features(wave, torch.tensor([8000]))
    assert outputs.encoded.shape == (1, 24, 768)
    assert torch.equal(outputs.encoded, stock(wave).last_hidden_state)


@torch.no_grad()
def test_a_padded_batch_is_hugging_faces_where_its_norm_does_not_leak():
    """With a layer norm in the extractor, to rounding: the masks of padding have other numbers."""
    stock = leaky("wav2vec2", feat_extract_norm="layer")
    model = in_parts(copy.deepcopy(stock))
    features, samples = model.embed.features(*padded(utterances()))
    outputs = model.from_features(features, samples)
    real = (torch.arange(features.shape[1]) < samples[:, None]).long()
    expected = stock(features, attention_mask=real).last_hidden_state
    own = ~outputs.state.pad
    torch.testing.assert_close(outputs.encoded[own], expected[own], atol=1e-6, rtol=1e-5)


def alone_and_together(model, schedule):
    depth = model.depth(schedule)
    together = model(*padded(utterances()), depth=depth)
    for row, wave in enumerate(utterances()):
        alone = model(wave[None], torch.ones(1), depth=depth)
        count = int(together.frames[row])
        assert count == alone.frames == alone.log_probs.shape[1]
        yield float((together.log_probs[row, :count] - alone.log_probs[0]).abs().max())


@pytest.mark.parametrize("schedule", [standard(3), unfold(3, 8), unfold(3, 6, unfoldable=[2])], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_an_utterance_gives_the_same_in_any_batch(kind, schedule):
    model = in_parts(leaky(kind))
    frames = model(*padded(utterances())).frames
    assert frames.tolist() == [max(1, 1 + (n - 400) // 320) for n in SAMPLES]
    assert max(alone_and_together(model, schedule)) < 1e-4


@torch.no_grad()
def test_hugging_faces_group_norm_would_leak():
    model = in_parts(leaky("wav2vec2"))
    for module in model.embed.feature_extractor.modules():
        module._forward_hooks.clear()
    assert max(alone_and_together(model, standard(3))) > 1e-3


@pytest.mark.parametrize("normalize", [True, False])
def test_waveforms_are_normalized_as_by_hugging_face(normalize):
    embed = WaveformEmbedding(leaky("hubert"), normalize=normalize)
    theirs = Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask=True)
    waves = [wave for wave in utterances() if len(wave) >= 400]
    expected = theirs([w.numpy() for w in waves], padding=True, sampling_rate=16000, return_tensors="pt")
    features, samples = embed.features(*padded(waves))
    torch.testing.assert_close(features, expected.input_values, atol=1e-5, rtol=1e-5)
    assert samples.tolist() == [len(wave) for wave in waves]


def test_silence_is_finite():
    model = in_parts(leaky("wav2vec2"))
    assert model(torch.zeros(2, 4000), torch.tensor([1.0, 0.3])).log_probs.isfinite().all()


def test_keys_are_the_stock_ones():
    stock = leaky("wav2vec2")
    keys = [
        k if k.startswith("encoder.layers.") else k.removeprefix("encoder.") for k in stock.state_dict()
    ]
    found = [key for key in in_parts(stock).state_dict() if not key.startswith("heads.")]
    assert {key.removeprefix("embed.") for key in found} == {*keys}
    assert all(key.startswith(("embed.", "encoder.layers.")) for key in found)


def test_frames_and_rate():
    model = in_parts(leaky("hubert"))
    assert (model.sample_rate, model.frame_seconds) == (16000, 0.02)
    other = in_parts(leaky("hubert", conv_stride=[5, 4, 2, 2, 2, 2, 2]), sample_rate=8000)
    assert (other.sample_rate, other.frame_seconds) == (8000, 0.08)


def test_a_frozen_extractor_gets_no_gradient():
    for freeze in (True, False):
        model = in_parts(leaky("wav2vec2"), freeze_extractor=freeze).train()
        model(*padded(utterances())).log_probs.square().mean().backward()
        trained = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
        assert freeze != any(key.startswith("embed.feature_extractor.") for key in trained)
        assert any(key.startswith("embed.pos_conv_embed.") for key in trained)
        assert any(key.startswith("encoder.layers.2.") for key in trained)


def test_spans_of_frames_are_masked_in_training_alone():
    embed = WaveformEmbedding(leaky("wav2vec2", mask_time_prob=0.1, mask_time_length=5))
    x = torch.zeros(20, 1000, 32)
    changed = embed.train()._mask(x)
    masked = (changed != 0).any(-1)
    assert torch.equal(changed[masked], embed.masked_spec_embed.expand(int(masked.sum()), -1))
    assert 0.08 < masked.float().mean() < 0.11
    edges = masked[:, 5:-5].int().diff(dim=1)
    ends, starts = (edges == -1).nonzero().tolist(), (edges == 1).nonzero().tolist()
    assert len(ends) > 200
    for row, end in ends:
        before = [start for at, start in starts if at == row and start < end]
        assert not before or end - before[-1] >= 5
    assert torch.equal(embed.eval()._mask(x), x)
    assert WaveformEmbedding(leaky("wav2vec2", mask_time_prob=0.0)).masked_spec_embed is None


def test_recomputation_gives_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        stock = leaky("hubert", hidden_dropout=0.0)
        encoder = RecursiveEncoder(SSLLayers(stock), unfold(3, 7), recompute=recompute)
        state = WaveformEmbedding(stock).eval()(torch.ones(1, 4000).cumsum(1), torch.tensor([4000]))
        (encoder.run(state).state.x * torch.linspace(-1, 2, 32)).sum().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    assert gradients[0][0].abs().max() > 0
    assert all(map(torch.equal, *gradients))


@torch.no_grad()
def test_a_further_run_shares_what_was_embedded():
    model = in_parts(leaky("wav2vec2"), unfold(3, 9))
    seed = Run(model.depth(1), Request(["ctc"]))
    outputs = model(*padded(utterances()), request=Request(["ctc"], runs={"seed": seed}))
    plain = in_parts(leaky("wav2vec2"))
    plain.load_state_dict(model.state_dict())
    assert torch.equal(outputs.runs["seed"].log_probs, plain(*padded(utterances())).log_probs)
    assert not torch.equal(outputs.log_probs, outputs.runs["seed"].log_probs)


def test_costs_without_memory_for_weights():
    with torch.device("meta"):
        model = ASRModel(*of_parts(*ssl_parts("wav2vec2", **SMALL)))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert multiply_adds_per_second(model) > 1e6
    whole = training_step_activation_bytes(model.train(), 2)
    model.embed.feature_extractor.requires_grad_(False)
    assert training_step_activation_bytes(model, 2) < whole


def of_parts(embed, layers):
    return embed, RecursiveEncoder(layers, standard(len(layers.layers))), {"ctc": CTCHead(32, 30)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_type": "whisper"}, "model_type is wav2vec2 or hubert, not 'whisper'"),
        ({"model_type": "hubert", "hiden_size": 32}, "HubertConfig has no option hiden_size"),
        ({"model_type": "wav2vec2", "do_stable_layer_norm": True}, "a norm after the last layer"),
    ],
)
def test_what_cannot_be_built(options, said):
    with pytest.raises(UserError, match=said):
        ssl_parts(**options)


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="need transformers: pip install transformers"):
        ssl_parts("hubert")


def test_chunks_are_refused():
    with pytest.raises(ValueError, match="no dynamic chunks"):
        in_parts(leaky("hubert"))(torch.zeros(1, 4000), torch.ones(1), dynchunktrain_config=object())
