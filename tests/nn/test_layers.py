"""Stock layers in our parts: SpeechBrain's ``TransformerASR`` to the bit, and its initial weights."""

import math

import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerASR import get_lookahead_mask

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.layers import stock_decoder, stock_layers
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import latent, standard
from speechbrain_recursive.nn.transfer import warm_start

OURS = {
    "custom_src_module.layers.0.w.": "embed.project.",
    "custom_tgt_module.layers.0.": "heads.seq2seq.embedding.",
    "encoder.": "encoder.",
    "decoder.": "heads.seq2seq.decoder.",
}


def our_name(name):
    """A stock parameter's name in our model."""
    (prefix,) = (prefix for prefix in OURS if name.startswith(prefix))
    return OURS[prefix] + name.removeprefix(prefix)


@pytest.fixture
def example():
    """Features [B, T, F], their frame counts, and tokens."""
    torch.manual_seed(2)
    return torch.randn(2, 11, 12), torch.tensor([11, 7]), torch.tensor([[1, 4, 5, 0], [1, 3, 7, 8]])


@pytest.fixture
def run(recording):
    """``run(model, features, frames, tokens)``: encoded frames and the decoder's states."""

    def run(model, features, frames, tokens, depth=None):
        states = recording(model.heads["seq2seq"].decoder)
        out = model.from_features(
            features, frames, {"tokens_bos": tokens}, model.depth(depth), Request(["seq2seq"])
        )
        return out.encoded, states[0][0]

    return run


@pytest.mark.parametrize("padded", [True, False])
def test_equals_the_stock_model(theirs, ours, asr_kind, example, run, padded):
    """Encoder, teacher-forced decoder and ``decode``, to the bit where nothing is padded."""
    theirs, ours = theirs(3, *asr_kind), ours(standard(3), *asr_kind)
    src, frames, tgt = example
    if not padded:
        frames = torch.tensor([11, 11])
    warm_start(ours, theirs.state_dict())
    with torch.no_grad():
        seen = run(ours, src, frames, tgt)
        expected = theirs(src, tgt, frames / 11)
        exact = not padded or asr_kind[0] == "transformer"  # the others' padding leaks
        for one, other in zip(seen, expected, strict=True):
            assert torch.equal(one, other) or not exact
        encoded = theirs.encode(src, frames / 11)
        assert torch.equal(seen[0], encoded) == exact
        decoded = ours.heads["seq2seq"].decode(tgt, encoded, frames)
        for one, other in zip(decoded, theirs.decode(tgt, encoded, frames), strict=True):
            assert torch.equal(one, other)
        for one, other in zip(
            ours.heads["seq2seq"].decode(tgt, encoded), theirs.decode(tgt, encoded), strict=True
        ):
            assert torch.equal(one, other)
        head = ours.heads["seq2seq"]
        log_probs = ours.from_features(src, frames, {"tokens_bos": tgt}, request=Request(["seq2seq"]))
        assert torch.equal(log_probs.decoded, head.linear(seen[1]).log_softmax(-1))


def test_equals_the_causal_stock_model(theirs, ours, example, recording):
    theirs, ours = theirs(3, causal=True), ours(standard(3))
    src, frames, tgt = example
    warm_start(ours, theirs.state_dict())
    head = ours.heads["seq2seq"]
    states = recording(head.decoder)
    with torch.no_grad():
        state = ours.embed(src, frames)
        seen = ours.encoder(state.x, get_lookahead_mask(state.x), state.pad)[0]
        expected = theirs(src, tgt, frames / 11)
        assert torch.equal(seen, expected[0])
        assert not torch.equal(seen, ours.encoder(state.x, None, state.pad)[0])
        head(type(state)(seen, pad=state.pad).remember(tokens_bos=tgt))
        assert torch.equal(states[0][0], expected[1])


def test_a_training_step_equals_the_stock_models_under_one_seed(theirs, ours, asr_kind, example, run):
    options = {"dropout": 0.1, "layerdrop_prob": 0.4}
    theirs, ours = theirs(4, *asr_kind, **options), ours(standard(4), *asr_kind, **options)
    src, _, tgt = example
    warm_start(ours, theirs.state_dict())
    frames = torch.tensor([11, 11])
    theirs.train(), ours.train()
    weights = torch.linspace(-1, 2, 16)
    outputs = []
    for forward in (lambda: theirs(src, tgt, frames / 11), lambda: run(ours, src, frames, tgt)):
        torch.manual_seed(4)
        outputs.append(forward())
        (torch.cat(outputs[-1], 1) * weights).sum().backward()
    for one, other in zip(*outputs, strict=True):
        assert torch.equal(one, other)
    other, dropped = dict(ours.named_parameters()), 0
    for name, parameter in theirs.named_parameters():
        gradient = other[our_name(name)].grad
        assert (parameter.grad is None) == (gradient is None), name
        dropped += parameter.grad is None
        if asr_kind[0] == "branchformer" and gradient is not None:
            # its convolution reflects each row at its own end, which sums in another order
            torch.testing.assert_close(parameter.grad, gradient, msg=name)
        else:
            assert parameter.grad is None or torch.equal(parameter.grad, gradient), name
    assert dropped, "the seed drops a layer"


def test_a_stock_checkpoint_of_the_physical_layers_starts_a_deeper_model(theirs, ours, example, run):
    theirs, ours = theirs(3), ours(latent(1, 4, 1, 1))
    src, frames, tgt = example
    warm_start(ours, theirs.state_dict())
    with torch.no_grad():
        assert torch.equal(run(ours, src, frames, tgt, 1)[0], theirs.encode(src, frames / 11))
        assert not torch.allclose(run(ours, src, frames, tgt)[0], theirs.encode(src, frames / 11))


def test_each_row_makes_its_own_loops(ours, asr_kind, example, run):
    model = ours(latent(1, 3, 1, 1), *asr_kind)
    src, frames, tgt = example
    with torch.no_grad():
        encoded, decoded = run(model, src, frames, tgt, torch.tensor([4, 2]))
        for row, (count, loops) in enumerate(((11, 4), (7, 2))):
            alone = run(
                model,
                src[row : row + 1, :count],
                torch.tensor([count]),
                tgt[row : row + 1],
                loops,
            )
            torch.testing.assert_close(encoded[row, :count], alone[0][0])
            torch.testing.assert_close(decoded[row], alone[1][0])


class Gain(Hook):
    """A matrix that starts at zero, which the stock initialization would overwrite."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(16, 16))


def test_hooks_keep_their_initial_values(ours):
    model = ours(latent(1, 2, 1, 1), hooks={"recurrent": [Gain()]})
    assert not model.state_dict()["encoder.hooks.recurrent.0.weight"].any()


@pytest.mark.parametrize("family", ["transformer", "conformer", "branchformer"])
def test_matrices_are_initialized_as_the_stock_model_initializes_them(family):
    """Xavier's normal, which none of the stock layers has by itself."""
    torch.manual_seed(0)
    layers = stock_layers(2, 64, nhead=2, d_ffn=128, csgu_linear_units=96, encoder_module=family)
    embedding, decoder = stock_decoder(50, 1, 64, nhead=2, d_ffn=128)
    for module in (layers, embedding, decoder):
        matrices = {name: p for name, p in module.named_parameters() if p.dim() == 2}
        assert matrices
        for name, matrix in matrices.items():
            std = math.sqrt(2 / sum(matrix.shape))
            assert matrix.std().item() == pytest.approx(std, rel=0.1), name


@pytest.mark.parametrize("family", ["transformer", "conformer", "branchformer"])
def test_pre_norm_layers_without_a_causal_mask(family):
    torch.manual_seed(0)
    sizes = {"nhead": 2, "d_ffn": 32, "csgu_linear_units": 24, "kernel_size": 3}
    layers = stock_layers(1, 16, encoder_module=family, **sizes).eval()
    x = torch.randn(1, 9, 16)
    changed = torch.cat([x[:, :6], -x[:, 6:]], 1)
    assert not torch.allclose(layers(x)[0][:, 0], layers(changed)[0][:, 0], atol=1e-4)
    if family == "transformer":
        assert layers.layers[0].normalize_before


def test_depth_is_what_the_schedule_says(ours):
    assert ours(latent(2, 3, 1, 1)).depth() == Depth.of(latent(2, 3, 1, 1), 3)
