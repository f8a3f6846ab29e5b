"""The decoder of CIF, and a whole model with it: teacher forcing, prefixes, padding and precision."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.processing.features import InputNormalization

from speechbrain_recursive.nn.cif import Cif, boundaries
from speechbrain_recursive.nn.cif_decoder import CifDecoder, CifHead
from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.heads import CTCHead
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.pooling import MaxPool
from speechbrain_recursive.nn.positions import positions_for
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import latent
from speechbrain_recursive.nn.state import State

WIDTH, TOKENS = 16, 9
SIZES = {"nhead": 2, "d_ffn": 32, "dropout": 0.0}
SAMPLES = [24000, 160 * 38 + 77, 21111]  # the last rounds badly as a relative length
BOS = torch.tensor([[1, 5, 6, 7, 4], [1, 8, 0, 0, 0], [1, 4, 4, 0, 0]])


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return CifDecoder(WIDTH, TOKENS, num_layers=2, **SIZES).eval()


def test_a_step_reads_what_came_before_alone(decoder):
    """A prefix gives the states of teacher forcing; later tokens and states do not count."""
    torch.manual_seed(1)
    fired = torch.randn(2, 5, WIDTH)
    whole = decoder(State(fired).remember(tokens_bos=BOS[:2])).x
    for length in range(1, 6):
        other = torch.cat([fired[:, :length], torch.randn(2, 3, WIDTH)], 1)
        prefix = decoder.decode(BOS[:2, :length], other)
        torch.testing.assert_close(prefix, whole[:, :length], atol=1e-5, rtol=0)
    changed = fired.clone()
    changed[:, 2] += 1.0
    differs = (decoder.decode(BOS[:2], changed) - whole).abs().amax((0, 2)) > 1e-4
    assert differs.tolist() == [False, False, True, True, True]
    tokens = BOS[:2].clone()
    tokens[:, 2] = 3
    differs = (decoder.decode(tokens, fired) - whole).abs().amax((0, 2)) > 1e-4
    assert differs.tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("tokens", [30, 4234])
def test_tokens_do_not_drown_fired_states(tokens):
    """At the start, embeddings are no larger than fired states, which come from a layer norm."""
    torch.manual_seed(3)
    said = CifDecoder(256, tokens, num_layers=1, **SIZES).embedding(torch.arange(1, tokens))
    assert 0.1 < said.pow(2).mean() < 2


def test_missing_states_are_zero_and_others_are_left_out(decoder):
    torch.manual_seed(2)
    fired = torch.randn(1, 3, WIDTH)
    zeros = torch.cat([fired, torch.zeros(1, 2, WIDTH)], 1)
    assert torch.equal(decoder.decode(BOS[:1], fired), decoder.decode(BOS[:1], zeros))
    assert decoder.decode(BOS[:1, :2], fired).shape == (1, 2, WIDTH)
    assert decoder.decode(BOS[:1, :1], fired[:, :0]).isfinite().all()


def test_without_tokens_the_state_passes(decoder):
    state = State(torch.randn(1, 3, WIDTH))
    assert decoder(state) is state


@pytest.fixture
def model():
    torch.manual_seed(0)
    frontend = ConvolutionFrontEnd((None, None, 20), 1, 1, [4], [3], [2], [1], [False], dropout=0.0)
    normalize, positions = InputNormalization(norm_type="sentence"), positions_for("RelPosMHAXL", WIDTH)
    embed = FilterbankEmbedding(
        Fbank(n_mels=20), normalize, frontend, 40, WIDTH, dropout=0.0, positions=positions
    )
    layers = stock_layers(3, WIDTH, encoder_module="conformer", attention_type="RelPosMHAXL", **SIZES)
    hooks = {"prelude": [MaxPool()], "recurrent": [MaxPool()]}
    encoder = RecursiveEncoder(layers, latent(1, 2, 1, 1), hooks)
    after = {
        "cif": Cif(WIDTH, dropout=0.0),
        "decoder": CifDecoder(WIDTH, TOKENS, num_layers=1, **SIZES),
    }
    heads = {"ctc": CTCHead(WIDTH, TOKENS), "seq2seq": CifHead(WIDTH, TOKENS)}
    model = ASRModel(embed, encoder, heads, after)
    for name, parameter in model.named_parameters():
        if "conv" in name and parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def waves():
    torch.manual_seed(3)
    return [torch.randn(n) * torch.linspace(0.2, 1.0, n) for n in SAMPLES]


def run(model, waves, tokens=None, loops=2):
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    given = {} if tokens is None else {"tokens_bos": tokens}
    request = Request(["ctc"] if tokens is None else ["ctc", "seq2seq"])
    return model(padded, lengths / lengths.max(), given, model.depth(loops), request)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("loops", [1, 3])
def test_an_utterance_gives_the_same_alone(model, training, loops):
    """From waveform to log-posteriors, through both poolings, at two loop counts."""
    model.train(training)  # there is no dropout
    tokens = BOS if training else None
    with torch.no_grad():
        whole = run(model, waves(), tokens, loops)
        for row, wave in enumerate(waves()):
            alone = run(model, [wave], BOS[row : row + 1] if training else None, loops)
            frames, fired = int(alone.frames), int(alone.states["cif"].frames)
            assert (int(whole.frames[row]), int(whole.states["cif"].frames[row])) == (frames, fired)
            pairs = [
                (whole.log_probs[row, :frames], alone.log_probs[0]),
                (whole.states["cif"].x[row, :fired], alone.states["cif"].x[0, :fired]),
            ]
            if training:
                n = int((BOS[row] > 0).sum())
                assert fired == n
                pairs.append((whole.decoded[row, :n], alone.decoded[0, :n]))
                pairs.append((whole.states["decoder"].x[row, :n], alone.states["decoder"].x[0, :n]))
            for ours, theirs in pairs:
                torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_gradients_do_not_depend_on_padding(model):
    model.train()

    def total(waves, tokens):
        outputs = run(model, waves, tokens)
        of_tokens = outputs.decoded.masked_fill((tokens == 0)[..., None], 0.0)[..., 3].sum()
        return of_tokens + outputs.states["cif"].memory["quantity"].sum()

    names = {n: p for n, p in model.named_parameters() if "ctc" not in n}
    seen = torch.autograd.grad(total(waves(), BOS), names.values())
    alone = sum(total([wave], BOS[row : row + 1]) for row, wave in enumerate(waves()))
    for name, ours, theirs in zip(names, seen, torch.autograd.grad(alone, names.values()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def test_boundaries_are_seconds_of_the_waveform(model):
    """Frames of 80 ms after two poolings; the first one begins 10 ms before the recording."""
    assert model.frame_seconds == pytest.approx(0.08)
    with torch.no_grad():
        model.after["cif"].linear.weight.zero_()
        model.after["cif"].linear.bias.fill_(-1.0986123)  # a weight of 1/4
        outputs = run(model, waves())
    assert outputs.frames.tolist() == [19, 5, 17]
    found = boundaries(model, outputs)
    assert [len(row) for row in found] == [5, 1, 4]
    assert found[0][:4] == pytest.approx([0.31, 0.63, 0.95, 1.27], abs=1e-4)
    assert found[0][4] == pytest.approx(19 * 0.08 - 0.01, abs=1e-4)  # the tail's, with 3/4


def test_padding_of_the_encoder_is_that_of_its_pooled_frames(model):
    outputs = run(model, waves())
    assert torch.equal(outputs.states["encoder"].pad, pad_mask(outputs.frames, outputs.encoded.shape[1]))
