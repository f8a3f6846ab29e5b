"""From waveform to log-probabilities, an utterance is what it is alone, whatever the batch."""

import math
from dataclasses import replace

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.nnet.CNN import Conv1d
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.nn.asr import RecursiveTransformerASR
from speechbrain_recursive.nn.conditioning.depth import Clock
from speechbrain_recursive.nn.loops import Proportional
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.schedule import bicycle, latent
from speechbrain_recursive.nn.state import Hook

# Seconds of audio, ten encoder frames, and one; the last but one rounds badly as a relative length.
SAMPLES = [30000, 160 * 38 + 77, 160, 21111, 29999, 16000]
TOKENS = torch.tensor([[1, 5, 6, 7]])
SCHEDULE = latent(1, 3, 1, 1)
CASES = {
    "transformer": ("regularMHA", "fixed_abs_sine", None, None),
    "transformer-rope": ("RoPEMHA", None, Conv1d, None),
    "conformer": ("RelPosMHAXL", None, None, None),
    "conformer-chunks": ("RelPosMHAXL", None, None, DynChunkTrainConfig(4, 2)),
    "conformer-regular-chunks": ("regularMHA", "fixed_abs_sine", None, DynChunkTrainConfig(4, 1)),
    "conformer-rope-chunks": ("RoPEMHA", None, None, DynChunkTrainConfig(4, 2)),
    "branchformer": ("RelPosMHAXL", None, Conv1d, None),
    "branchformer-regular": ("regularMHA", "fixed_abs_sine", None, None),
}


def build(name, decoder_layers=1, norm_type="sentence", schedule=SCHEDULE, hooks=None):
    torch.manual_seed(0)
    attention, table, conv, _ = CASES[name]
    width = 16
    shape = {"out_channels": [4, 4], "kernel_sizes": [3, 3]}
    if conv is not None:
        shape = {"out_channels": [width] * 2, "kernel_sizes": [5, 5], "conv_module": conv}
    frontend = ConvolutionFrontEnd(
        (None, None, 40), 2, 1, strides=[2, 2], dilations=[1, 1], residuals=[False] * 2, **shape
    )
    transformer = RecursiveTransformerASR(
        12,
        40 if conv is None else width,
        schedule,
        hooks,
        d_model=width,
        nhead=2,
        d_ffn=32,
        num_decoder_layers=decoder_layers,
        encoder_module=name.split("-")[0],
        attention_type=attention,
        positional_encoding=table,
        kernel_size=31,
        csgu_linear_units=24,
        normalize_before=True,
        causal=False,
    )
    normalize = InputNormalization(norm_type=norm_type)
    model = ASRModel(Fbank(n_mels=40), normalize, frontend, transformer, width, 12)
    for parameter_name, parameter in model.named_parameters():
        if "conv" in parameter_name and parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def utterances():
    torch.manual_seed(1)
    return [torch.randn(n) * torch.linspace(0.2, 1.0, n) for n in SAMPLES]


def padded(waves):
    lengths = torch.tensor([len(wave) for wave in waves])
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths / lengths.max()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("loops", [1, 4, torch.tensor([1, 4, 3, 2, 3, 1])], ids=["1", "4", "rows"])
def test_padding_is_exact(name, loops):
    model, chunks = build(name), CASES[name][3]
    wavs, wav_lens = padded(utterances())
    tokens = TOKENS.expand(len(SAMPLES), -1)
    with torch.no_grad():
        batched = model(wavs, wav_lens, tokens, loops, taps=[1, 2], dynchunktrain_config=chunks)
        for row, wave in enumerate(utterances()):
            own = loops if isinstance(loops, int) else int(loops[row])
            alone = model(wave[None], torch.ones(1), TOKENS, own, taps=[1], dynchunktrain_config=chunks)
            n = int(batched.frames[row])
            assert alone.log_probs.shape[1] == n == int(alone.frames)
            for seen, expected in [
                (batched.log_probs[row, :n], alone.log_probs[0]),
                (batched.encoded[row, :n], alone.encoded[0]),
                (batched.taps[1][row, :n], alone.taps[1][0]),
                (batched.decoded[row], alone.decoded[0]),
            ]:
                torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)
    assert batched.frames.tolist()[1:3] == [10, 1]


def test_the_length_strategy_gives_each_utterance_its_own_count():
    """In a batch of mixed durations, in training as in evaluation."""
    model, policy, waves = build("transformer"), Proportional(5, max_seconds=2.0), utterances()
    seconds = torch.tensor([len(wave) / 16000 for wave in waves])
    for counts in (policy(0, 100, seconds), policy.at_inference(seconds)):
        assert counts.tolist() == [5, 1, 1, 4, 5, 3]
        with torch.no_grad():
            batched = model(*padded(waves), loops=counts)
            for row, wave in enumerate(waves):
                own = math.ceil(5 * len(wave) / 16000 / 2)
                alone = model(wave[None], torch.ones(1), loops=own)
                n = int(batched.frames[row])
                torch.testing.assert_close(
                    batched.log_probs[row, :n], alone.log_probs[0], atol=1e-4, rtol=0
                )


@pytest.mark.parametrize("name", CASES)
def test_gradients_do_not_depend_on_padding(name):
    """Padded frames bring neither their own gradient nor NaN into the parameters'."""
    model, chunks = build(name), CASES[name][3]
    waves = utterances()[:3]

    def loss(waves):
        output = model(*padded(waves), loops=4, dynchunktrain_config=chunks)
        return sum(row[:n, 3].sum() for row, n in zip(output.log_probs, output.frames, strict=True))

    parameters = list(model.transformer.encoder.layers.parameters())
    seen = torch.autograd.grad(loss(waves), parameters, allow_unused=True)
    expected = torch.autograd.grad(sum(loss([wave]) for wave in waves), parameters, allow_unused=True)
    for one, other in zip(seen, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_frame_counts_are_absolute_where_relative_ones_round_wrongly():
    model = build("transformer")
    lengths = torch.arange(1600, 32000, 480)
    wav_lens = lengths.float() / 31999
    assert (wav_lens.double() * 31999 < lengths).any(), "cutting off would lose a frame"
    _, frames = model.features(torch.zeros(len(lengths), 31999), wav_lens)
    assert frames.tolist() == [1 + n // 160 for n in lengths.tolist()]


def test_other_rows_do_not_change_a_features_normalization():
    model = build("transformer")
    wavs, wav_lens = padded(utterances())
    features, frames = model.features(wavs, wav_lens)
    for row, wave in enumerate(utterances()):
        alone, count = model.features(wave[None], torch.ones(1))
        assert count == frames[row] == alone.shape[1]
        torch.testing.assert_close(features[row, :count], alone[0], atol=1e-4, rtol=1e-4)


def test_refuses_a_normaliser_whose_statistics_would_not_travel():
    with pytest.raises(ValueError, match="norm_type is global"):
        build("transformer", norm_type="global")


def test_outputs():
    model = build("transformer")
    wavs, wav_lens = padded(utterances())
    out = model(wavs, wav_lens, TOKENS.expand(6, -1), loops=2, taps=model.schedule.ends("prelude"))
    assert out.log_probs.dtype == torch.float32
    torch.testing.assert_close(out.log_probs.exp().sum(-1), torch.ones(out.log_probs.shape[:2]))
    torch.testing.assert_close(out.decoded.exp().sum(-1), torch.ones(6, 4))
    assert list(out.taps) == [0]
    last = model.schedule.ends("coda")
    tapped = model(wavs, wav_lens, taps=last)
    posteriors = model.readout(tapped.taps[last[0]]).log_softmax(-1)
    torch.testing.assert_close(posteriors, tapped.log_probs)
    assert model(wavs, wav_lens).decoded is None


def test_without_a_decoder_it_is_ctc_alone():
    model = build("transformer", decoder_layers=0)
    out = model(*padded(utterances()), tokens_bos=TOKENS.expand(6, -1))
    assert out.decoded is None
    assert not [name for name in model.state_dict() if "seq_lin" in name or "decoder" in name]


def test_augmentation_sees_features_and_their_lengths():
    model = build("transformer")
    wavs, wav_lens = padded(utterances())
    seen = {}

    def silence(features, lengths):
        seen["frames"] = torch.round(lengths * features.shape[1]).tolist()
        return torch.zeros_like(features)

    loud, quiet = model(wavs, wav_lens), model(wavs, wav_lens, augment=silence)
    assert seen["frames"] == [1 + n // 160 for n in SAMPLES]
    assert not torch.allclose(loud.log_probs, quiet.log_probs, atol=1e-2)


def test_bf16_autocast_gives_float_posteriors_and_finite_gradients():
    model = build("conformer-chunks").train()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(
            *padded(utterances()),
            TOKENS.expand(6, -1),
            loops=torch.tensor([1, 4, 3, 2, 3, 1]),
            dynchunktrain_config=DynChunkTrainConfig(4, 2),
        )
    assert out.log_probs.dtype == out.decoded.dtype == torch.float32
    (out.log_probs[..., 0].sum() + out.decoded[..., 0].sum()).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", ["transformer", "conformer", "branchformer"])
def test_under_autocast_the_state_keeps_the_type_of_the_weights(name):
    """So that what hooks add does not change it on the way, which rows that rejoin could not bear."""
    model = build(name, hooks={"recurrent": [Clock(2, 16)]}).train()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(*padded(utterances()), loops=torch.tensor([1, 4, 3, 2, 3, 1]), taps=range(6))
    assert {x.dtype for x in out.taps.values()} == {torch.float32}


@pytest.mark.parametrize("name", ["transformer", "conformer", "branchformer"])
def test_an_exit_is_a_run_of_so_many_loops(name):
    """The coda and the head read it as if the loop had been the last."""
    model, waves = build(name), padded(utterances())
    steps = model.schedule.ends("recurrent")
    with torch.no_grad():
        out = model(*waves, taps=[0], exits=steps)
        assert sorted(out.exits) == list(steps) == [1, 2, 3]
        assert list(out.taps) == [0]
        for loop, step in enumerate(steps, start=1):
            expected = model(*waves, loops=loop)
            for seen, own, n in zip(out.exits[step], expected.log_probs, out.frames, strict=True):
                torch.testing.assert_close(seen[:n], own[:n], atol=1e-5, rtol=0)
    assert out.exits[1].dtype == torch.float32
    assert not torch.allclose(out.exits[1], out.exits[3], atol=1e-2)


class Halve(Hook):
    def leave_block(self, state):
        return replace(state, x=state.x / 2)


def test_an_exit_runs_what_follows_its_block_at_each_rows_own_count():
    model = build("conformer", 0, schedule=bicycle(2, 2, 2, 3), hooks={"phonetic": [Halve()]})
    waves = padded(utterances())
    own = {"linguistic": torch.tensor([1, 3, 2, 2, 1, 3])}
    (first, _) = model.schedule.ends("phonetic")
    with torch.no_grad():
        found = model(*waves, loops=own, exits=[first]).exits[first]
        expected = model(*waves, loops={"phonetic": 1, **own})
    for seen, alone, n in zip(found, expected.log_probs, expected.frames, strict=True):
        torch.testing.assert_close(seen[:n], alone[:n], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("block", "step"), [("coda", 4), ("recurrent", 3), ("prelude", 0)])
def test_the_exit_at_the_end_of_a_block_is_the_output(block, step):
    model, waves = build("transformer"), padded(utterances())
    out = model(*waves, exits=model.schedule.ends(block))
    assert out.exits[step] is out.log_probs
    assert model(*waves).exits == {}
