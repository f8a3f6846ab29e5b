"""LARM against loops over time and frames written from the paper, and its parts on their own."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.batch import PaddedData
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization
from torch.nn.utils.rnn import pad_sequence

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.conditioning.depth import Clock, DepthEmbedding, DepthMLP, FiLM
from speechbrain_recursive.nn.conditioning.feedback import PosteriorFeedback
from speechbrain_recursive.nn.conditioning.injection import StateInjection
from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.frontend import ConvSubsampling
from speechbrain_recursive.nn.heads import CTCHead
from speechbrain_recursive.nn.larm import (
    RopeBlock,
    RopeEncoder,
    _rotate,
    conditioning,
    rotary_table,
)
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import cycle, latent
from speechbrain_recursive.nn.state import State
from speechbrain_recursive.objectives.intermediate_ctc import IntermediateCTC

MELS, WIDTH, HEADS, TOKENS, BASE = 6, 8, 2, 6, 50.0
LOOPS, INTERVAL = 4, 2
FRAMES = [21, 9, 14]  # six, three and four after subsampling
TRANSCRIPTS = [[1, 2, 2], [3], [4, 1]]
CASES = {
    "previous": {"feedback": "previous"},
    "current": {"feedback": "current"},
    "no feedback": {"feedback": "none"},
    "embedding": {"depth": "embedding"},
    "mlp": {"depth": "mlp", "clock": False},
    "bare": {"depth": "none", "feedback": "none", "clock": False},
    "no final norm": {"final_norm": False},
}


@pytest.fixture
def double():
    """All tensors in float64, so that nothing but an error can make a difference."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def larm(schedule=None, final_norm=True, **options):
    """A small LARM with a CTC head, in which no weight has its starting value."""
    torch.manual_seed(0)
    schedule = schedule or cycle(2, LOOPS)
    hooks = conditioning(WIDTH, TOKENS, LOOPS, INTERVAL, **options)
    layers = RopeEncoder(schedule.n_layers, WIDTH, HEADS, 4 * WIDTH, base=BASE, final_norm=final_norm)
    normalize = InputNormalization(norm_type="sentence")
    size = 3 * math.ceil(MELS / 4)
    embed = FilterbankEmbedding(Fbank(n_mels=MELS), normalize, ConvSubsampling(3), size, WIDTH)
    encoder = RecursiveEncoder(layers, schedule, {"recurrent": hooks})
    model = ASRModel(embed, encoder, {"ctc": CTCHead(WIDTH, TOKENS)})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    if not final_norm:  # large states would make large logits, which float32 rounds
        torch.nn.init.normal_(model.heads["ctc"].linear.weight, std=0.02)
    return model.eval()


def utterances():
    torch.manual_seed(1)
    return [torch.randn(frames, MELS) for frames in FRAMES]


def transcripts():
    tokens = pad_sequence([torch.tensor(row) for row in TRANSCRIPTS], batch_first=True)
    lengths = torch.tensor([len(row) / tokens.shape[1] for row in TRANSCRIPTS])
    return SimpleNamespace(id=["a", "b", "c"], tokens=PaddedData(tokens, lengths))


# The paper in plain loops: one utterance, a list of frames, each a vector.


def affine(linear, x):
    return linear.weight @ x if linear.bias is None else linear.weight @ x + linear.bias


def layer_norm(norm, x):
    if isinstance(norm, torch.nn.Identity):
        return x
    centered = x - x.mean()
    return norm.weight * centered / torch.sqrt((centered * centered).mean() + norm.eps) + norm.bias


def softmax(x):
    odds = torch.exp(x - x.max())
    return odds / odds.sum()


def strided(conv, x):
    """3x3, stride 2, one zero around; x is [channels, time, frequency]."""
    _, time, frequency = x.shape
    rows = []
    for t in range(0, time, 2):
        for f in range(0, frequency, 2):
            top, left = max(t - 1, 0), max(f - 1, 0)
            patch = x[:, top : t + 2, left : f + 2]
            skip, shift = top - (t - 1), left - (f - 1)
            for weight, bias in zip(conv.weight, conv.bias, strict=True):
                seen = weight[:, skip : skip + patch.shape[1], shift : shift + patch.shape[2]]
                value = (seen * patch).sum() + bias
                rows.append(value / (1 + torch.exp(-value)))
    shape = -(-time // 2), -(-frequency // 2), len(conv.bias)
    return torch.stack(rows).view(shape).permute(2, 0, 1)


def rotated(x, t):
    """Coordinates i and i + half, taken as a complex number, turned by t times their rate."""
    half = len(x) // 2
    turned = []
    for i in range(half):
        angle = t * BASE ** (-2 * i / len(x))
        turned.append(torch.complex(x[i], x[i + half]) * complex(math.cos(angle), math.sin(angle)))
    return torch.stack([each.real for each in turned] + [each.imag for each in turned])


def block(layer, frames):
    """Eq. 15 to 18."""
    size = WIDTH // HEADS
    fused = [affine(layer.qkv, layer_norm(layer.norm1, x)) for x in frames]
    heads = [[] for _ in frames]
    for head in range(HEADS):
        at = [slice(part * WIDTH + head * size, part * WIDTH + (head + 1) * size) for part in range(3)]
        q = [rotated(each[at[0]], t) for t, each in enumerate(fused)]
        k = [rotated(each[at[1]], t) for t, each in enumerate(fused)]
        for t, query in enumerate(q):
            weights = softmax(torch.stack([query @ key / math.sqrt(size) for key in k]))
            heads[t].append(sum(w * each[at[2]] for w, each in zip(weights, fused, strict=True)))
    out = []
    for x, attended in zip(frames, heads, strict=True):
        x = x + affine(layer.out, torch.cat(attended))
        wide = affine(layer.up, layer_norm(layer.norm2, x))
        out.append(x + affine(layer.down, wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))))
    return out


def network(mlp, depth):
    """One hidden layer with SiLU."""
    hidden = affine(mlp[0], torch.tensor([depth]))
    return affine(mlp[2], hidden / (1 + torch.exp(-hidden)))


def reference(model, features, loops, previous=True):
    """Log-posteriors [T, V] after each loop (Eq. 5 to 12)."""
    x = features[None]
    for conv in model.embed.frontend.convs:
        x = strided(conv, x)
    z0 = [affine(model.embed.project, x[:, t].flatten()) for t in range(x.shape[1])]
    encoder = model.encoder
    hooks = {type(hook): hook for hook in encoder.hooks["recurrent"]}
    posteriors, z = [], z0
    for n in range(1, loops + 1):
        h = z
        for layer in encoder.layers:
            h = block(layer, h)
        p = [softmax(affine(model.heads["ctc"].linear, layer_norm(encoder.norm, each))) for each in h]
        posteriors.append(torch.stack([each.log() for each in p]))
        if n == loops:
            return posteriors
        z = []
        for t in range(len(h)):
            each = h[t] + hooks[StateInjection].gain * z0[t]
            if PosteriorFeedback in hooks:
                feedback, source = hooks[PosteriorFeedback], t - 1 if previous else t
                if source >= 0:
                    each = each + feedback.gain * affine(feedback.project, p[source])
            if Clock in hooks:
                each = each + hooks[Clock].embedding.weight[n % INTERVAL]
            if FiLM in hooks:
                scale, bias = hooks[FiLM].scale, hooks[FiLM].bias
                each = (1 + network(scale, n / LOOPS)) * each + network(bias, n / LOOPS)
            if DepthMLP in hooks:
                each = each + network(hooks[DepthMLP].bias, n / LOOPS)
            if DepthEmbedding in hooks:
                each = each + hooks[DepthEmbedding].embedding.weight[n - 1]
            z.append(each)


def forward_algorithm(log_probs, tokens):
    """-log p(tokens), summed over alignments frame by frame."""
    states = [0]
    for token in tokens:
        states += [token, 0]
    alpha = {s: log_probs[0, states[s]] for s in (0, 1)}
    for frame in log_probs[1:]:
        reached = {}
        for s, label in enumerate(states):
            skips = label != 0 and s > 1 and label != states[s - 2]
            before = [alpha[r] for r in (s, s - 1, s - 2)[: 3 if skips else 2] if r in alpha]
            if before:
                reached[s] = frame[label] + torch.stack(before).logsumexp(0)
        alpha = reached
    ends = [alpha[s] for s in (len(states) - 1, len(states) - 2) if s in alpha]
    return -torch.stack(ends).logsumexp(0)


def recognize(model, features, depth, request=None):
    """The model on a batch whose padding is full of noise."""
    padded = pad_sequence(features, batch_first=True, padding_value=5.0)
    frames = torch.tensor(list(map(len, features)))
    return model.from_features(padded, frames, depth=depth, request=request)


def exits_of(depth):
    """All early exits of a depth, and the run itself, with their log-posteriors."""
    return {depth.stop("recurrent", n + 1): Request(["ctc"]) for n in range(depth.loops)}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", CASES)
class TestReference:
    def test_values_of_every_loop(self, case):
        model = larm(**CASES[case])
        loops = LOOPS if case == "embedding" else LOOPS + 1  # past what was trained for, where it can
        depth = model.depth(loops)
        exits = exits_of(depth)
        with torch.no_grad():
            seen = recognize(model, utterances(), depth, Request(exits=exits))
            assert seen.frames.tolist() == [6, 3, 4]
            for row, features in enumerate(utterances()):
                expected = reference(model, features, loops, case != "current")
                for loop, exit in enumerate(exits):
                    log_probs = seen.exits[exit].log_probs[row, : len(expected[loop])]
                    torch.testing.assert_close(log_probs.double(), expected[loop], atol=1e-5, rtol=0)
        spread = [(a - b).abs().max() for a, b in pairwise(expected)]
        assert min(spread) > 0.01, "loops that change nothing would test nothing"

    def test_loss_and_gradients(self, case):
        model = larm(**CASES[case])
        objective = IntermediateCTC(model.schedule, INTERVAL)
        outputs = recognize(model, utterances(), model.depth(), objective.needs(model.depth()))
        loss = objective(outputs, transcripts())["ctc"]
        expected = 0.0
        for features, tokens in zip(utterances(), TRANSCRIPTS, strict=True):
            posteriors = reference(model, features, LOOPS, case != "current")
            for n in (2, 4):
                expected = expected + forward_algorithm(posteriors[n - 1], tokens) / 6
        torch.testing.assert_close(loss.double(), expected, atol=1e-5, rtol=0)
        names, parameters = zip(*model.named_parameters(), strict=True)
        ours = torch.autograd.grad(loss, parameters, allow_unused=True)
        theirs = torch.autograd.grad(expected, parameters, allow_unused=True)
        for name, one, other in zip(names, ours, theirs, strict=True):
            assert other.abs().max() > 1e-4, f"{name} has no gradient to compare"
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5, msg=f"{name}: {{}}".format)


@pytest.mark.parametrize("schedule", [cycle(2, LOOPS), latent(2, LOOPS, 1, 1)], ids=["cycle", "latent"])
@pytest.mark.parametrize("counts", [None, torch.tensor([2, 4, 1])], ids=["all", "rows"])
def test_an_exit_is_a_run_of_so_many_loops(schedule, counts):
    """With coda and head; rows that had left earlier give at every later exit what they left with."""
    model = larm(schedule)
    depth = model.depth(counts)
    with torch.no_grad():
        outputs = recognize(model, utterances(), depth, Request(exits=exits_of(depth)))
        exits = [each.log_probs for each in outputs.exits.values()]
        assert len(exits) == LOOPS
        for loop, log_probs in enumerate(exits, start=1):
            own = loop if counts is None else counts.clamp(max=loop)
            shorter = recognize(model, utterances(), model.depth(own))
            for row, frames in enumerate(shorter.frames):
                seen, expected = log_probs[row, :frames], shorter.log_probs[row, :frames]
                torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)
        firsts = [log_probs[1, :3] for log_probs in exits]
        assert min((a - b).abs().max() for a, b in pairwise(firsts)) > 0.01


def rope(layers=2, loops=3, hooks=None, recompute=False):
    """A recursive encoder over random rotary blocks."""
    torch.manual_seed(0)
    stock = RopeEncoder(layers, 16, 2, 32)
    encoder = RecursiveEncoder(stock, cycle(layers, loops), {"recurrent": hooks or []}, recompute)
    for parameter in stock.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def batch(rows=3, frames=9):
    torch.manual_seed(2)
    return torch.randn(rows, frames, 16)


RAGGED = torch.arange(9) >= torch.tensor([9, 5, 1])[:, None]


class TestNaiveLoop:
    """With everything off LARM is Eq. 1."""

    def test_no_hooks_are_passes_and_one_norm(self):
        encoder = rope(loops=4)
        x, table = batch(), rotary_table(9, 8, 10000.0)
        expected = x
        for _ in range(4):
            for layer in encoder.layers:
                expected = layer(expected, table)
        assert torch.equal(encoder(x)[0], encoder.norm(expected))

    @pytest.mark.parametrize("final_norm", [True, False])
    def test_a_final_norm_is_an_option(self, final_norm):
        layers = RopeEncoder(1, 16, 2, 32, final_norm=final_norm)
        x = RecursiveEncoder(layers, cycle(1, 2))(5 * batch())[0]
        assert torch.allclose(x.std(-1, correction=0), torch.ones(3, 9), atol=1e-3) == final_norm

    @pytest.mark.parametrize("depth", ["film", "mlp", "embedding", "none"])
    @pytest.mark.parametrize("feedback", ["previous", "current", "none"])
    def test_fresh_hooks_change_nothing_but_through_the_front_end(self, depth, feedback):
        """Once the gain of the front-end's state, alone not zero at the start, is taken away."""
        hooks = conditioning(16, 5, loops=3, interval=3, depth=depth, feedback=feedback)
        readout = torch.nn.Linear(16, 5)
        conditioned, naive = rope(hooks=hooks), rope()
        state = State(batch(), readout=readout)
        injected = conditioned.run(state).state.x
        expected = naive.run(state).state.x
        assert not torch.allclose(injected, expected, atol=1e-2)
        (injection,) = (hook for hook in hooks if isinstance(hook, StateInjection))
        torch.nn.init.zeros_(injection.gain)
        torch.testing.assert_close(conditioned.run(state).state.x, expected, atol=1e-6, rtol=0)

    def test_one_loop_is_conditioned_by_nothing(self):
        assert conditioning(16, 5, loops=1, interval=1) == []


def test_conditioning_is_built_as_it_is_asked_for():
    hooks = conditioning(16, 5, 6, 3, feedback="current", clock=False, gain=0.2, learn_gains=False)
    assert [type(hook) for hook in hooks] == [PosteriorFeedback, StateInjection, FiLM]
    assert [hook.gain.item() for hook in hooks[:2]] == pytest.approx([0.2, 0.2])
    assert not any(hook.gain.requires_grad for hook in hooks[:2])
    assert not hooks[0].delay
    assert all(hook.gain.requires_grad for hook in conditioning(16, 5, 6, 3)[:2])
    with pytest.raises(UserError, match=r"'filn' is none of none, embedding, mlp, film"):
        conditioning(16, 5, 6, 3, depth="filn")
    with pytest.raises(UserError, match=r"'next' is none of previous, current"):
        conditioning(16, 5, 6, 3, feedback="next")


class TestRopeEncoder:
    @pytest.mark.parametrize("loops", [1, 3, torch.tensor([2, 4, 1])], ids=["1", "3", "rows"])
    def test_a_batch_is_its_rows_alone(self, loops):
        encoder, x = rope(), batch()
        together = encoder(x, src_key_padding_mask=RAGGED, loops=loops)[0]
        for row, count in enumerate((~RAGGED).sum(1).tolist()):
            own = loops if isinstance(loops, int) else int(loops[row])
            alone = encoder(x[row : row + 1, :count], loops=own)[0]
            torch.testing.assert_close(together[row, :count], alone[0], atol=1e-5, rtol=0)

    def test_recomputed_gradients_are_the_kept_ones(self):
        grads = []
        for recompute in (False, True):
            encoder = rope(recompute=recompute)
            encoder(batch(), src_key_padding_mask=RAGGED)[0][..., 0].sum().backward()
            grads.append([parameter.grad for parameter in encoder.parameters()])
        for one, other in zip(*grads, strict=True):
            torch.testing.assert_close(one, other)

    @pytest.mark.parametrize("additive", [False, True], ids=["boolean", "additive"])
    def test_under_a_causal_mask_the_future_does_not_matter(self, additive):
        """Boolean as our encoder documents it, or of zeros and -inf as SpeechBrain's helper makes it."""
        encoder, x = rope(), batch()
        mask = torch.ones(9, 9).triu(1).bool()
        if additive:
            mask = torch.zeros(9, 9).masked_fill(mask, -torch.inf)
        changed = torch.cat([x[:, :4], x[:, 4:].flip(1)], 1)
        seen, other = (
            encoder(each, src_mask=mask, src_key_padding_mask=RAGGED)[0] for each in (x, changed)
        )
        torch.testing.assert_close(seen[:, :4], other[:, :4])
        assert not torch.allclose(encoder(x)[0][:, :4], encoder(changed)[0][:, :4], atol=1e-3)
        alone = encoder(x[:1, :4], src_mask=mask[:4, :4])[0]
        torch.testing.assert_close(seen[:1, :4], alone, atol=1e-5, rtol=0)

    def test_bf16_autocast(self):
        encoder = rope(hooks=[FiLM(3, 16), Clock(2, 16)])
        expected = encoder(batch(), src_key_padding_mask=RAGGED)[0]
        with torch.autocast("cpu", torch.bfloat16):
            seen = encoder(batch(), src_key_padding_mask=RAGGED)[0]
        torch.testing.assert_close(seen.float(), expected, atol=0.1, rtol=0.1)
        seen[~RAGGED].float()[..., 0].sum().backward()
        assert all(p.grad.isfinite().all() for p in encoder.layers.parameters())

    @pytest.mark.parametrize(("d_model", "nhead"), [(18, 2), (16, 3), (6, 2)])
    def test_refuses_heads_of_odd_or_broken_width(self, d_model, nhead):
        with pytest.raises(UserError, match=f"even width: d_model {d_model}, nhead {nhead}"):
            RopeEncoder(1, d_model, nhead, 32)

    def test_gives_no_attention_mask_of_heads_by_frames_by_frames(self):
        """What fused attention is handed is [B, 1, 1, T] under padding, and nothing without."""
        shapes = []

        class Spy(RopeBlock):
            def forward(self, x, rotary, allowed=None):
                shapes.append(None if allowed is None else tuple(allowed.shape))
                return super().forward(x, rotary, allowed)

        encoder = rope(layers=1, loops=1)
        encoder.layers[0].__class__ = Spy
        encoder(batch(), src_key_padding_mask=RAGGED)
        encoder(batch())
        assert shapes == [(3, 1, 1, 9), None]


class TestRotaryPositions:
    def test_inner_products_depend_on_the_distance_alone(self):
        torch.manual_seed(0)
        q, k = torch.randn(2, 8)
        table = rotary_table(40, 8, 100.0)
        turned = [_rotate(each.expand(1, 1, 40, 8), table)[0, 0] for each in (q, k)]
        products = turned[0] @ turned[1].T
        for distance in (-7, 0, 3):
            line = products.diagonal(distance)
            torch.testing.assert_close(line, line[:1].expand_as(line), atol=1e-5, rtol=0)
        assert (products.diagonal(3)[0] - products.diagonal(-3)[0]).abs() > 0.1, "it has a direction"
        torch.testing.assert_close(products[0, 0], q @ k)

    def test_a_block_sees_no_absolute_position(self):
        block, table = rope(layers=1).layers[0], rotary_table(30, 8, 10000.0)
        early, late = block(batch(), table[:, :9]), block(batch(), table[:, 17:26])
        torch.testing.assert_close(early, late, atol=1e-5, rtol=0)
        stretched = block(batch(), table[:, ::3][:, :9])
        assert not torch.allclose(early, stretched, atol=1e-2)

    def test_base(self):
        row = rotary_table(5, 4, 16.0)[0, 3]
        expected = [math.cos(3), math.cos(0.75), math.sin(3), math.sin(0.75)]
        torch.testing.assert_close(row, torch.tensor(expected))
