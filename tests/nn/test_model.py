"""From waveform to log-probabilities: what is asked for and no more, and each utterance as if alone."""

import math
from dataclasses import replace

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.nnet.CNN import Conv1d
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.conditioning.depth import Clock
from speechbrain_recursive.nn.conditioning.feedback import PosteriorFeedback
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.heads import CTCHead, Seq2SeqHead
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.layer_dropout import LayerDropout
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.loops import Proportional
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.positions import positions_for
from speechbrain_recursive.nn.request import Request, Run
from speechbrain_recursive.nn.schedule import bicycle, latent, unfold

# Seconds of audio, ten encoder frames, and one; the last but one rounds badly as a relative length.
SAMPLES = [30000, 160 * 38 + 77, 160, 21111, 29999, 16000]
TOKENS = torch.tensor([[1, 5, 6, 7]])
SCHEDULE = latent(1, 3, 1, 1)
BOTH = Request(["ctc", "seq2seq"])
CASES = {
    "transformer": ("regularMHA", None, None),
    "transformer-rope": ("RoPEMHA", Conv1d, None),
    "conformer": ("RelPosMHAXL", None, None),
    "conformer-chunks": ("RelPosMHAXL", None, DynChunkTrainConfig(4, 2)),
    "conformer-regular-chunks": ("regularMHA", None, DynChunkTrainConfig(4, 1)),
    "conformer-rope-chunks": ("RoPEMHA", None, DynChunkTrainConfig(4, 2)),
    "branchformer": ("RelPosMHAXL", Conv1d, None),
    "branchformer-regular": ("regularMHA", None, None),
}


def build(name, decoder=True, schedule=SCHEDULE, hooks=None, after=None, heads=None):
    torch.manual_seed(0)
    attention, conv, _ = CASES[name]
    width = 16
    shape = {"out_channels": [4, 4], "kernel_sizes": [3, 3]}
    if conv is not None:
        shape = {"out_channels": [width] * 2, "kernel_sizes": [5, 5], "conv_module": conv}
    frontend = ConvolutionFrontEnd(
        (None, None, 40), 2, 1, strides=[2, 2], dilations=[1, 1], residuals=[False] * 2, **shape
    )
    embed = FilterbankEmbedding(
        Fbank(n_mels=40),
        InputNormalization(norm_type="sentence"),
        frontend,
        40 if conv is None else width,
        width,
        positions=positions_for(attention, width),
    )
    sizes = {"nhead": 2, "d_ffn": 32}
    layers = stock_layers(
        schedule.n_layers,
        width,
        encoder_module=name.split("-")[0],
        attention_type=attention,
        kernel_size=31,
        csgu_linear_units=24,
        **sizes,
    )
    heads = {"ctc": CTCHead(width, 12), **(heads or {})}
    if decoder:
        heads["seq2seq"] = Seq2SeqHead(width, 12, num_layers=1, **sizes)
    model = ASRModel(embed, RecursiveEncoder(layers, schedule, hooks), heads, after)
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
    model, chunks = build(name), CASES[name][2]
    wavs, wav_lens = padded(utterances())
    tokens = {"tokens_bos": TOKENS.expand(len(SAMPLES), -1)}
    wanted = BOTH | Request(taps=[1, 2])
    with torch.no_grad():
        depth = model.depth(loops)
        batched = model(wavs, wav_lens, tokens, depth, wanted, dynchunktrain_config=chunks)
        for row, wave in enumerate(utterances()):
            depth = model.depth(loops if isinstance(loops, int) else int(loops[row]))
            tokens = {"tokens_bos": TOKENS}
            alone = model(wave[None], torch.ones(1), tokens, depth, wanted, dynchunktrain_config=chunks)
            n = int(batched.frames[row])
            assert alone.log_probs.shape[1] == n == int(alone.frames)
            for seen, expected in [
                (batched.log_probs[row, :n], alone.log_probs[0]),
                (batched.encoded[row, :n], alone.encoded[0]),
                (batched.taps[1].x[row, :n], alone.taps[1].x[0]),
                (batched.decoded[row], alone.decoded[0]),
            ]:
                torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)
    assert batched.frames.tolist()[1:3] == [10, 1]


def test_the_length_strategy_gives_each_utterance_its_own_count():
    """In a batch of mixed durations, in training as in evaluation."""
    model = build("transformer", schedule=latent(1, 5, 1, 1))
    policy, waves = Proportional(max_seconds=2.0), utterances()
    seconds = [len(wave) / 16000 for wave in waves]
    for depth in (policy(model.schedule, 0, 100, seconds), policy.at_inference(model.schedule, seconds)):
        assert depth.by_row("recurrent") == (5, 1, 1, 4, 5, 3)
        with torch.no_grad():
            batched = model(*padded(waves), depth=depth)
            for row, wave in enumerate(waves):
                own = model.depth(math.ceil(5 * len(wave) / 16000 / 2))
                alone = model(wave[None], torch.ones(1), depth=own)
                n = int(batched.frames[row])
                torch.testing.assert_close(
                    batched.log_probs[row, :n], alone.log_probs[0], atol=1e-4, rtol=0
                )


@pytest.mark.parametrize("name", CASES)
def test_gradients_do_not_depend_on_padding(name):
    """Padded frames bring neither their own gradient nor NaN into the parameters'."""
    model, chunks = build(name), CASES[name][2]
    waves = utterances()[:3]

    def loss(waves):
        output = model(*padded(waves), depth=model.depth(4), dynchunktrain_config=chunks)
        return sum(row[:n, 3].sum() for row, n in zip(output.log_probs, output.frames, strict=True))

    parameters = list(model.encoder.layers.parameters())
    seen = torch.autograd.grad(loss(waves), parameters, allow_unused=True)
    expected = torch.autograd.grad(sum(loss([wave]) for wave in waves), parameters, allow_unused=True)
    for one, other in zip(seen, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_outputs():
    model = build("transformer")
    wavs, wav_lens = padded(utterances())
    wanted = BOTH | Request(taps=model.schedule.ends("prelude"))
    out = model(wavs, wav_lens, {"tokens_bos": TOKENS.expand(6, -1)}, model.depth(2), wanted)
    assert out.log_probs.dtype == torch.float32
    torch.testing.assert_close(out.log_probs.exp().sum(-1), torch.ones(out.log_probs.shape[:2]))
    torch.testing.assert_close(out.decoded.exp().sum(-1), torch.ones(6, 4))
    assert list(out.taps) == [0]
    assert out.depth == Depth.of(SCHEDULE, 2)
    assert torch.equal(out.features[0], model.embed.features(wavs, wav_lens)[0])
    assert out.features[1].tolist() == [1 + n // 160 for n in SAMPLES]
    (last,) = model.schedule.ends("coda")
    tapped = model(wavs, wav_lens, request=Request(["ctc"], taps=[last]))
    posteriors = tapped.taps[last].readout(tapped.taps[last].x).log_softmax(-1)
    torch.testing.assert_close(posteriors, tapped.log_probs)
    assert model(wavs, wav_lens).decoded is None
    looked = model(wavs, wav_lens, request=Request(attention=[1, 3]))
    assert list(looked.attention) == [1, 3]
    assert {weights.shape for weights in looked.attention.values()} == {(6, 47, 47)}
    assert not looked.attention[3][1, :, 10:].any(), "frames of padding get no attention"


def test_without_a_decoder_it_is_ctc_alone():
    model = build("transformer", decoder=False)
    out = model(*padded(utterances()), {"tokens_bos": TOKENS.expand(6, -1)})
    assert out.decoded is None
    assert list(out.heads) == ["ctc"]
    assert not [name for name in model.state_dict() if "seq2seq" in name or "decoder" in name]
    with pytest.raises(UserError, match=r"no head 'seq2seq', which .* reads; it has ctc"):
        model(*padded(utterances()), request=Request(["seq2seq"]))


def test_a_head_without_its_targets():
    with pytest.raises(ValueError, match="head 'seq2seq' needs the targets tokens_bos"):
        build("transformer")(*padded(utterances()), request=Request(["seq2seq"]))


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
            {"tokens_bos": TOKENS.expand(6, -1)},
            model.depth([1, 4, 3, 2, 3, 1]),
            BOTH,
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
        depth = model.depth([1, 4, 3, 2, 3, 1])
        out = model(*padded(utterances()), depth=depth, request=Request(taps=range(6)))
    assert {tap.x.dtype for tap in out.taps.values()} == {torch.float32}


class Halve(Hook):
    def leave_block(self, state):
        return replace(state, x=state.x / 2)


class TestExits:
    """What an exit gives is what a run gives that really stops there."""

    def exits(self, depth, block="recurrent"):
        made = depth.schedule.loops[block]
        return {depth.stop(block, loops): Request(["ctc"]) for loops in range(1, made + 1)}

    @pytest.mark.parametrize("name", ["transformer", "conformer", "branchformer"])
    def test_is_a_run_of_so_many_loops(self, name):
        """The coda and the head read it as if the loop had been the last."""
        model, waves = build(name), padded(utterances())
        exits = self.exits(model.depth())
        with torch.no_grad():
            out = model(*waves, request=Request(["ctc"], taps=[0], exits=exits))
            assert [exit.loops for exit in out.exits] == [1, 2, 3]
            assert list(out.taps) == [0]
            for loops, (exit, found) in enumerate(out.exits.items(), start=1):
                assert found.depth == exit
                expected = model(*waves, depth=model.depth(loops))
                for seen, own, n in zip(found.log_probs, expected.log_probs, out.frames, strict=True):
                    torch.testing.assert_close(seen[:n], own[:n], atol=1e-5, rtol=0)
        first, _, last = out.exits.values()
        assert first.log_probs.dtype == torch.float32
        assert not torch.allclose(first.log_probs, last.log_probs, atol=1e-2)

    def test_runs_what_follows_its_block_at_each_rows_own_count(self):
        hooks = {"phonetic": [Halve()]}
        model = build("conformer", decoder=False, schedule=bicycle(2, 2, 2, 3), hooks=hooks)
        waves = padded(utterances())
        own = {"linguistic": [1, 3, 2, 2, 1, 3]}
        depth = model.depth(own)
        exit = depth.stop("phonetic", 1)
        assert exit == model.depth({"phonetic": 1, **own})
        with torch.no_grad():
            found = model(*waves, depth=depth, request=Request(exits={exit: Request(["ctc"])}))
            expected = model(*waves, depth=exit)
        found = found.exits[exit].log_probs
        for seen, alone, n in zip(found, expected.log_probs, expected.frames, strict=True):
            torch.testing.assert_close(seen[:n], alone[:n], atol=1e-5, rtol=0)

    def test_of_pooled_and_remembered_states(self, tally, pool):
        """Their frames are fewer, in outputs and heads."""
        hooks = {"*": [tally()], "head": [pool()], "phonetic": [pool()], "linguistic": [tally(), pool()]}
        model = build("conformer", schedule=bicycle(2, 2, 2, 3), hooks=hooks)
        waves, tokens = padded(utterances()), {"tokens_bos": TOKENS.expand(6, -1)}
        for request in (None, {"phonetic": [1, 2, 2, 1, 1, 2], "linguistic": [1, 3, 2, 2, 1, 3]}):
            depth = model.depth(request)
            wanted = {}
            for block in ("phonetic", "linguistic"):
                wanted |= dict.fromkeys(self.exits(depth, block), BOTH)
            with torch.no_grad():
                out = model(*waves, tokens, depth, Request(exits=wanted))
                for exit, found in out.exits.items():
                    expected = model(*waves, tokens, exit, BOTH)
                    assert found.frames.tolist() == expected.frames.tolist()
                    assert found.frames[0] == 6, "47 frames, halved three times"
                    for seen, own, n in zip(
                        found.log_probs, expected.log_probs, found.frames, strict=True
                    ):
                        torch.testing.assert_close(seen[:n], own[:n], atol=1e-5, rtol=0)
                    torch.testing.assert_close(found.decoded, expected.decoded, atol=1e-5, rtol=0)

    def test_feedback_reads_the_ctc_head(self):
        feedback = PosteriorFeedback(12, 16)
        torch.nn.init.normal_(feedback.project.weight)
        model = build("transformer", hooks={"recurrent": [feedback]})
        waves, exits = padded(utterances()), self.exits(model.depth())
        with torch.no_grad():
            out = model(*waves, request=Request(exits=exits))
            for exit, found in out.exits.items():
                expected = model(*waves, depth=exit)
                for seen, own, n in zip(found.log_probs, expected.log_probs, out.frames, strict=True):
                    torch.testing.assert_close(seen[:n], own[:n], atol=1e-5, rtol=0)
        del model.heads["ctc"]
        with pytest.raises(ValueError, match="needs a model with a CTC head"):
            model(*waves, request=Request())

    def test_at_full_depth_it_is_the_output(self):
        model, waves = build("transformer"), padded(utterances())
        depth = model.depth()
        out = model(*waves, request=Request(["ctc"], exits={depth: Request(["ctc"])}))
        assert out.exits[depth].log_probs is out.log_probs
        assert out.exits[depth].state is out.state
        assert model(*waves).exits == {}

    def test_distributed_training_finds_their_tensors(self, tmp_path):
        """DDP searches outputs for tensors: an exit that were the outputs themselves would never end."""
        model, waves = build("transformer").train(), padded(utterances())
        store = f"file://{tmp_path}/store"
        torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
        try:
            parallel = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
            request = Request(["ctc"], exits=self.exits(model.depth()))
            whole = model(*waves, request=request)
            assert not any(exit is whole for exit in whole.exits.values()), "DDP would hang"
            out = parallel(*waves, request=request)
            sum(exit.log_probs[..., 1].sum() for exit in out.exits.values()).backward()
        finally:
            torch.distributed.destroy_process_group()
        assert model.encoder.layers[1].norm1.norm.weight.grad.abs().sum() > 0


class Sum(torch.nn.Module):
    """A part behind the encoder: one frame for each utterance."""

    def forward(self, state):
        x = state.x.masked_fill(state.pad[..., None], 0.0).sum(1, keepdim=True)
        return state.remember(gone=state.frames).resize(x, torch.ones_like(state.frames))


class Word(CTCHead):
    """A head that reads it."""

    reads = "sum"
    targets = ("word",)


class TestWhatIsAsked:
    """The model computes that and no more."""

    @pytest.fixture
    def model(self, recording):
        model = build("transformer", after={"sum": Sum()}, heads={"word": Word(16, 12)})
        parts = {"embed": model.embed, "sum": model.after["sum"], **model.heads}
        self.calls = {name: recording(part) for name, part in parts.items()}
        self.calls |= {f"layer {i}": recording(layer) for i, layer in enumerate(model.encoder.layers)}
        return model

    def counts(self):
        found = {name: len(calls) for name, calls in self.calls.items() if calls}
        for calls in self.calls.values():
            calls.clear()
        return found

    def run(self, model, request=None, depth=None, **targets):
        with torch.no_grad():
            return model(*padded(utterances()), targets, depth, request)

    def test_by_default_every_head_that_needs_no_targets(self, model):
        out = self.run(model, tokens_bos=TOKENS.expand(6, -1))
        assert list(out.heads) == ["ctc"]
        layers = {"layer 0": 1, "layer 1": 3, "layer 2": 1}
        assert self.counts() == {"embed": 1, "ctc": 1, "sum": 1, **layers}

    def test_heads(self, model):
        targets = {"tokens_bos": TOKENS.expand(6, -1), "word": torch.zeros(6)}
        layers = {"layer 0": 1, "layer 1": 3, "layer 2": 1}
        for heads in ([], ["ctc"], ["seq2seq"], ["word", "ctc"]):
            out = self.run(model, Request(heads), **targets)
            assert sorted(out.heads) == sorted(heads)
            assert self.counts() == {"embed": 1, "sum": 1, **layers, **dict.fromkeys(heads, 1)}
            assert out.taps == out.exits == out.runs == out.teachers == out.attention == {}

    def test_a_head_reads_the_part_that_it_names(self, model):
        out = self.run(model, Request(["ctc", "word"]), word=torch.zeros(6))
        assert out.heads["ctc"].shape == (6, 47, 12)
        assert out.heads["word"].shape == (6, 1, 12)
        assert list(out.states) == ["encoder", "sum"]
        assert out.frames.tolist() == [47, 10, 1, 33, 47, 26]
        assert out.state.frames.tolist() == [1] * 6
        assert out.state.memory["gone"].tolist() == out.frames.tolist()
        word = model.heads["word"].linear(out.state.x).log_softmax(-1)
        assert torch.equal(out.heads["word"], word)

    def test_exits(self, model):
        first = model.depth().stop("recurrent", 1)
        full = model.depth()
        wanted = {first: Request(["ctc"]), full: Request(["ctc"])}
        out = self.run(model, Request(["ctc"], exits=wanted))
        assert list(out.exits) == [first, full]
        assert self.counts() == {
            **{"embed": 1, "ctc": 2, "sum": 2},
            **{"layer 0": 1, "layer 1": 3, "layer 2": 2},
        }
        out = self.run(model, Request(exits={first: Request()}))
        assert out.heads == out.exits[first].heads == {}
        assert "ctc" not in self.counts()
        out = self.run(model, Request(["ctc"], exits={first: Request()}))
        assert out.exits[first].heads == {}
        assert self.counts()["ctc"] == 1

    def test_runs_share_one_embedding(self, model):
        deep, other = model.depth(5), Depth(unfold(3, 4, path=(0,)))
        inner = other.stop("layer0", 1)
        request = Request(
            ["ctc"],
            runs={
                "deep": Run(deep, Request(taps=[5])),
                "other": Run(other, Request(["ctc"], exits={inner: Request(["ctc"])})),
            },
        )
        out = self.run(model, request)
        assert self.counts() == {
            **{"embed": 1, "ctc": 3, "sum": 4},
            **{"layer 0": 1 + 1 + 2, "layer 1": 3 + 5 + 1 + 1, "layer 2": 1 + 1 + 1 + 1},
        }
        assert list(out.runs) == ["deep", "other"]
        assert out.runs["deep"].heads == {}
        assert out.runs["other"].depth == other
        alone = self.run(model, Request(["ctc"], taps=[5]), deep)
        assert torch.equal(out.runs["deep"].taps[5].x, alone.taps[5].x)
        alone = self.run(model, depth=other)
        assert torch.equal(out.runs["other"].log_probs, alone.log_probs)
        alone = self.run(model, depth=inner)
        assert torch.equal(out.runs["other"].exits[inner].log_probs, alone.log_probs)
        assert torch.equal(out.log_probs, self.run(model).log_probs)

    @pytest.mark.parametrize(("shared", "expected"), [(True, [(5,), (2,)]), (False, [(5,), (7,)])])
    def test_runs_share_the_numbers_of_layer_dropout(self, monkeypatch, shared, expected):
        model, draws, rand = build("transformer").train(), [], torch.rand
        model.encoder.layer_dropout = LayerDropout(0.5, shared=shared)
        monkeypatch.setattr(torch, "rand", lambda *size, **kw: draws.append(size) or rand(*size, **kw))
        exit = model.depth().stop("recurrent", 1)
        wanted = Request(["ctc"], exits={exit: Request(["ctc"])})
        request = wanted | Request(runs={"deep": Run(model.depth(5), wanted)})
        for _ in range(2):
            self.run(model, request, model.depth())
        assert draws == 2 * expected, "another forward pass draws other numbers"

    def test_runs_skip_the_same_passes(self):
        """A constant rate: what the seed skips is what the deep run skips in its first pass."""
        model = build("transformer", schedule=unfold(3, 5)).eval()
        model.encoder.training = True
        model.encoder.layer_dropout = LayerDropout(0.5, rising=False)
        applied = []
        for index, layer in enumerate(model.encoder.layers):
            layer.register_forward_hook(lambda *_, index=index: applied.append(index))
        request = Request(["ctc"], runs={"seed": Run(model.depth(1), Request(["ctc"]))})
        signals = padded(utterances())
        passes, seen = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)], set()
        for number in range(12):
            torch.manual_seed(number)
            kept = [each for each, drawn in zip(passes, torch.rand(5), strict=True) if drawn > 0.5]
            torch.manual_seed(number)
            applied.clear()
            model(*signals, request=request)
            first = [layer for layer, loop in kept if loop == 0]
            assert applied == [layer for layer, _ in kept] + first
            seen.add(tuple(applied))
        assert len(seen) > 5

    def test_a_run_may_not_exit_where_it_does_not_pass(self, model):
        with pytest.raises(ValueError, match="is not an exit of"):
            self.run(model, Request(exits={model.depth(4): Request(["ctc"])}))


def test_parts_are_all_there_is():
    model = build("transformer", after={"sum": Sum()}, heads={"word": Word(16, 12)})
    parts = model.parts()
    assert list(parts) == ["encoder", "embed", "sum", "ctc head", "word head", "seq2seq head"]
    counts = [sum(p.numel() for p in part.parameters()) for part in parts.values()]
    assert sum(counts) == sum(p.numel() for p in model.parameters())


def test_schedule_depth_and_sample_rate():
    model = build("transformer")
    assert model.schedule == SCHEDULE
    assert model.depth() == Depth(SCHEDULE)
    assert model.depth(7) == Depth.of(SCHEDULE, 7)
    assert model.sample_rate == 16000
