"""Attention with weights by head is the stock one; a further key is what its equation says."""

from dataclasses import replace

import pytest
import torch
from speechbrain.nnet.attention import MultiheadAttention, RelPosEncXL, RelPosMHAXL, RoPEMHA
from speechbrain.nnet.hypermixing import HyperMixing
from torch.testing import assert_close

from speechbrain_recursive.nn.adapters import adapter_for
from speechbrain_recursive.nn.attention import (
    Attention,
    WeightsByHead,
    attention_of,
    with_attention,
)
from speechbrain_recursive.nn.conditioning.lora import LoopLoRA
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.schedule import latent, standard
from speechbrain_recursive.nn.state import State

HEADS, SIZE = 2, 8
D_MODEL = HEADS * SIZE
KINDS = {
    "RelPosMHAXL": lambda **options: RelPosMHAXL(D_MODEL, HEADS, **options),
    "RoPEMHA": lambda **options: RoPEMHA(D_MODEL, HEADS, **options),
    "regularMHA": lambda **options: MultiheadAttention(HEADS, D_MODEL, **options),
}
TIME = 9  # of batch()
BAND = (torch.arange(TIME)[:, None] - torch.arange(TIME)).abs()


@pytest.fixture(params=KINDS)
def attention(request):
    """Name of a stock attention."""
    return request.param


@pytest.fixture
def build(attention):
    """``build(...)``: the stock module in eval mode, with large weights and biases that are not zero."""

    def make(**options):
        torch.manual_seed(0)
        module = KINDS[attention](**options).eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return module

    return make


@pytest.fixture
def place(attention, positions):
    """``place(x)``: the arguments of the call that give positions."""
    return lambda x: {} if attention != "RelPosMHAXL" else {"pos_embs": positions(attention, x)}


def chunks(size, left):
    """A mask of chunks that see themselves and so many chunks before them."""
    chunk = torch.arange(TIME) // size
    behind = chunk[:, None] - chunk
    return (behind < 0) | (behind > left)


def same(stock, ours, x, real, **options):
    """Whether the outputs are the same at real frames; returns the weights of both."""
    theirs, their_weights = stock(x, x, x, **options)
    output, weights = ours(x, x, x, **options)
    assert_close(output[real], theirs[real], atol=1e-6, rtol=1e-6)
    assert weights.shape == (len(x), HEADS, TIME, TIME)
    return weights, their_weights


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("mask", [None, BAND > 2, chunks(3, 1)], ids=["all", "band", "chunks"])
def test_output_and_weights_are_the_stock_ones(build, place, attention, batch, ragged, mask, padded):
    x, stock = batch(), build()
    real = ~ragged if padded else torch.ones_like(ragged)
    options = place(x) | {"attn_mask": mask, "key_padding_mask": ragged if padded else None}
    weights, theirs = same(stock, Attention(stock), x, real, **options)
    if attention == "RelPosMHAXL":
        assert_close(weights, theirs)
    elif attention == "regularMHA":
        assert_close(weights.mean(1)[real], theirs[real])
    assert_close(weights.sum(-1).transpose(1, 2)[real], torch.ones(int(real.sum()), HEADS))
    assert not weights.masked_select((~real)[:, None, None]).any()
    if mask is not None:
        assert not weights[..., mask].any()


@pytest.mark.parametrize("attention", ["RelPosMHAXL", "regularMHA"], indirect=True)
def test_masks_by_head_and_masks_that_are_added(build, place, batch):
    """The stock RoPEMHA takes neither."""
    x, stock = batch(), build()
    real = torch.ones(4, TIME, dtype=torch.bool)
    generator = torch.Generator().manual_seed(1)
    by_head = torch.rand(4 * HEADS, TIME, TIME, generator=generator) > 0.6
    by_head[:, range(TIME), range(TIME)] = False
    scores = torch.randn(TIME, TIME, generator=generator)
    for mask in (by_head, scores, scores.masked_fill(BAND > 3, -torch.inf), scores.repeat(8, 1, 1)):
        same(stock, Attention(stock), x, real, attn_mask=mask, **place(x))


def test_masks_that_are_added_are_one_of_scores(build, place, batch):
    x, ours = batch(), Attention(build())
    forbidden = ours(x, x, x, attn_mask=BAND > 2, **place(x))
    added = torch.zeros(TIME, TIME).masked_fill(BAND > 2, -torch.inf)
    assert_close(ours(x, x, x, attn_mask=added, **place(x)), forbidden)


@pytest.mark.parametrize(
    ("attention", "options"),
    [
        ("RelPosMHAXL", {"vbias": True}),
        ("RelPosMHAXL", {"mask_pos_future": True}),
        ("RoPEMHA", {"vbias": True}),
        ("regularMHA", {"bias": False}),
    ],
    indirect=["attention"],
)
def test_options_of_the_stock_modules(build, place, batch, options):
    x, stock = batch(), build(**options)
    same(stock, Attention(stock), x, torch.ones(4, TIME, dtype=torch.bool), **place(x))


@pytest.mark.parametrize("added", [False, True], ids=["bool", "float"])
def test_a_frame_that_may_attend_to_nothing_attends_to_nothing(build, place, batch, added):
    x = batch().requires_grad_()
    stock = build()
    mask = torch.zeros(TIME, TIME, dtype=torch.bool)
    mask[2] = True
    if added:
        mask = torch.zeros(TIME, TIME).masked_fill(mask, -torch.inf)
    key = torch.ones(HEADS, SIZE, requires_grad=True)
    for ours in (Attention(stock), Attention(stock, key)):
        output, weights = ours(x, x, x, attn_mask=mask, **place(x))
        assert not weights[:, :, 2].any()
        nothing = stock.att.out_proj.bias if hasattr(stock, "att") else stock.out_proj.bias
        assert_close(output[:, 2], nothing.expand(4, -1))
        output.sum().backward()
    assert all(p.grad.isfinite().all() for p in (x, key, *stock.parameters()))


def test_dropout_is_that_of_the_stock_module(build, place, batch):
    x, stock = batch(), build(dropout=0.5)
    ours = Attention(stock)
    assert ours.training
    assert_close(ours(x, x, x, **place(x))[0], ours(x, x, x, **place(x))[0])
    stock.train()
    output, weights = ours(x, x, x, **place(x))
    again, same_weights = ours(x, x, x, **place(x))
    assert not torch.allclose(output, again)
    assert_close(weights, same_weights)
    outputs = [ours(x, x, x, **place(x))[0] for _ in range(3000)]
    expected = stock.eval()(x, x, x, **place(x))[0]
    assert (torch.stack(outputs).mean(0) - expected).abs().mean() < 0.05 * expected.abs().mean()


def slow_scores(kind, stock, x, pos):
    """Query, scores and values of one utterance [T, d], a pair of frames at a time, by head."""
    if kind == "regularMHA":
        q, k, v = (x @ stock.att.in_proj_weight.T + stock.att.in_proj_bias).split(D_MODEL, 1)
        heads = [(q[:, s], k[:, s], v[:, s]) for s in (slice(h * SIZE, (h + 1) * SIZE) for h in (0, 1))]
        scale = SIZE**-0.5
    else:
        whole = (x @ stock.in_proj_weight.T).split(3 * SIZE, dim=1)
        heads = [part.split(SIZE, dim=1) for part in whole]
        scale = D_MODEL**-0.5
    for head, (query, keys, values) in enumerate(heads):
        scores = torch.zeros(len(x), len(x))
        for i, q in enumerate(query):
            for j, k in enumerate(keys):
                if kind == "RelPosMHAXL":
                    u, v = (b.view(HEADS, SIZE)[head] for b in (stock.pos_bias_u, stock.pos_bias_v))
                    relative = pos[0, len(x) - 1 - (i - j)] @ stock.linear_pos.weight.T
                    place = relative[head * SIZE : (head + 1) * SIZE]
                    scores[i, j] = scale * ((q + u) @ k + (q + v) @ place)
                elif kind == "RoPEMHA":
                    angles = (j - i) * 10000.0 ** (-torch.arange(0, SIZE, 2) / SIZE)
                    q_, k_ = (torch.view_as_complex(each.view(-1, 2).contiguous()) for each in (q, k))
                    turned = torch.polar(torch.ones_like(angles), angles) * k_
                    scores[i, j] = scale * (q_.conj() * turned).real.sum()
                else:
                    scores[i, j] = scale * q @ k
        if kind == "RelPosMHAXL":
            query = query + stock.pos_bias_u.view(HEADS, SIZE)[head]
        yield scale * query, scores, values


@torch.no_grad()
def test_a_further_key_against_a_slow_softmax(build, attention, batch):
    """Softmax over T + 1 keys, the last of value zero; its share is taken away by the amount."""
    stock, x = build(), batch(1)
    pos = RelPosEncXL(D_MODEL)(x)
    key = torch.randn(HEADS, SIZE, generator=torch.Generator().manual_seed(5))
    real = 7
    pad = torch.arange(TIME)[None] >= real
    for amount in (torch.tensor([1.0, 1.0]), torch.tensor([0.3, 0.8])):
        whole = []
        for head, (query, scores, values) in enumerate(
            slow_scores(attention, stock, x[0, :real], pos[:, TIME - real : TIME + real - 1])
        ):
            joint = torch.cat([scores, query @ key[head, :, None]], dim=1).softmax(1)
            share = joint[:, real:]
            alone = joint[:, :real] / (1 - share)
            whole.append((1 - amount[head] * share) * (alone @ values))
            if amount[head] == 1.0:
                assert_close(whole[-1], joint[:, :real] @ values)
        expected = (stock.att if attention == "regularMHA" else stock).out_proj(torch.cat(whole, dim=1))
        options = {"pos_embs": pos} if attention == "RelPosMHAXL" else {}
        output, _ = Attention(stock, key, amount)(x, x, x, key_padding_mask=pad, **options)
        assert_close(output[0, :real], expected, atol=1e-5, rtol=1e-5)
    one = Attention(stock, key)(x, x, x, key_padding_mask=pad, **options)
    full = Attention(stock, key, torch.tensor(1.0))(x, x, x, key_padding_mask=pad, **options)
    assert_close(one, full, atol=0.0, rtol=0.0)


@pytest.mark.parametrize("attention", ["regularMHA"], indirect=True)
def test_a_further_key_against_the_key_of_pytorch(build, batch, ragged):
    """``add_bias_kv`` appends a key to each head, and a value, which is zero here."""
    x, stock = batch(), build()
    longer = MultiheadAttention(HEADS, D_MODEL, add_bias_kv=True).eval()
    key = torch.randn(HEADS, SIZE, generator=torch.Generator().manual_seed(5))
    state = {"att.bias_k": key.view(1, 1, -1), "att.bias_v": torch.zeros(1, 1, D_MODEL)}
    longer.load_state_dict(stock.state_dict() | state)
    expected, weights = longer(x, x, x, key_padding_mask=ragged)
    output, _ = Attention(stock, key)(x, x, x, key_padding_mask=ragged)
    assert_close(output, expected, atol=1e-6, rtol=1e-6)
    assert weights[..., -1].mean() > 0.05


def test_an_amount_of_zero_leaves_the_attention_as_it_was(build, place, batch, ragged):
    x, stock = batch(), build()
    key = torch.randn(HEADS, SIZE, generator=torch.Generator().manual_seed(5))
    options = place(x) | {"key_padding_mask": ragged}
    plain = Attention(stock)(x, x, x, **options)
    amount = torch.zeros((), requires_grad=True)
    output = Attention(stock, key, amount)(x, x, x, **options)
    assert_close(output, plain, atol=0.0, rtol=0.0)
    output[0].square().sum().backward()
    assert amount.grad.abs() > 1e-3


def test_under_autocast(build, place, batch, ragged):
    x, stock = batch(), build()
    options = place(x) | {"key_padding_mask": ragged}
    key = torch.ones(HEADS, SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        low, weights = Attention(stock, key)(x, x, x, **options)
    expected, exact = Attention(stock, key)(x, x, x, **options)
    assert low.dtype == torch.bfloat16
    assert_close(low.float(), expected, atol=0.05, rtol=0.05)
    assert_close(weights.float(), exact, atol=0.02, rtol=0.0)


def test_a_layer_that_attends_by_another_module(kind, stock, positions, batch, ragged):
    family, attention = kind
    encoder = RecursiveEncoder(stock(1, family, attention), standard(1))
    layer, x = encoder.layers[0], batch()
    name, module = attention_of(layer)
    before = list(layer.state_dict())
    twin = with_attention(layer, name, Attention(module))
    state = State(x, pad=ragged, mask=BAND > 4, pos=positions(attention, x))
    expected, _ = encoder.adapter.call(state, layer)
    output, weights = encoder.adapter.call(state, twin)
    assert_close(output[~ragged], expected[~ragged], atol=1e-6, rtol=1e-6)
    assert weights.shape == (4, 2, TIME, TIME)
    assert attention_of(layer) == (name, module)
    assert list(layer.state_dict()) == before
    assert {id(p) for p in twin.parameters()} == {id(p) for p in layer.parameters()}


def test_chunks_of_padding_alone(stock, positions, batch):
    """Frames of a chunk that is all padding see nothing, and give no NaN for a next loop to spread."""
    x = batch(2)
    pad = torch.arange(TIME) >= torch.tensor([TIME, 4])[:, None]
    for attention in KINDS:
        encoder = stock(1, "conformer", attention)
        layer, adapter = encoder.layers[0], adapter_for(encoder)
        adapter.guard(layer)
        state = State(x, pad=pad, mask=chunks(3, 0), pos=positions(attention, x))
        name, module = attention_of(layer)
        output, _ = adapter.call(state, with_attention(layer, name, Attention(module)))
        assert output.isfinite().all()
        alone = replace(state, x=x[1:, :4], pad=None, mask=chunks(3, 0)[:4, :4])
        alone = replace(alone, pos=positions(attention, x[:, :4]))
        expected, _ = adapter.call(alone, layer)
        assert_close(output[1:, :4], expected, atol=1e-5, rtol=1e-5)


def test_a_copy_of_a_compiled_layer_is_not_compiled(stock, batch):
    layer = stock(1).layers[0]
    layer._compiled_call_impl = lambda *_, **__: pytest.fail("the original ran")
    name, module = attention_of(layer)
    twin = with_attention(layer, name, Attention(module))
    assert twin(batch())[1].shape == (4, 2, TIME, TIME)


def test_layers_and_modules_without_attention_weights(stock):
    with pytest.raises(TypeError, match="RopeBlock has no self-attention"):
        attention_of(stock(1, "rope").layers[0])
    mixing = HyperMixing(input_output_dim=D_MODEL, hypernet_size=8)
    with pytest.raises(TypeError, match="no attention weights by head for HyperMixing"):
        Attention(mixing)


SCHEDULE = latent(n_recurrent=2, loops=3, n_prelude=1, n_coda=1)


def looked_at(encoder, x, pad, pos):
    """The last state at real frames, and the attention weights of all steps."""
    depth = Depth(encoder.schedule)
    trace = encoder.run(State(x, pad=pad, pos=pos), depth, attention=range(len(depth)))
    return trace.state.x[~pad], list(trace.attention.values())


def test_weights_of_every_step(kind, stock, positions, batch, ragged):
    family, attention = kind
    encoder, x = RecursiveEncoder(stock(4, family, attention), SCHEDULE), batch()
    expected, theirs = looked_at(encoder, x, ragged, positions(attention, x))
    encoder.add_hook("*", WeightsByHead(), first=True)
    state, weights = looked_at(encoder, x, ragged, positions(attention, x))
    assert_close(state, expected, atol=1e-5, rtol=1e-5)
    assert [each.shape for each in weights] == [(4, 2, TIME, TIME)] * 8
    for ours, stock_ones in zip(weights, theirs, strict=True):
        if attention == "RelPosMHAXL":
            assert_close(ours.transpose(1, 2)[~ragged], stock_ones.transpose(1, 2)[~ragged])
        elif attention == "regularMHA":
            assert_close(ours.mean(1)[~ragged], stock_ones[~ragged])


def test_weights_of_layers_with_weights_of_their_own_in_each_loop(stock, positions, batch, ragged):
    lora = LoopLoRA(loops=3, rank=2)
    bank, x = stock(4, "conformer", "RelPosMHAXL"), batch()
    encoder = RecursiveEncoder(bank, SCHEDULE, {"recurrent": [lora]})
    for up in lora.up.parameters():
        torch.nn.init.normal_(up, std=0.3)
    pos = positions("RelPosMHAXL", x)
    expected, theirs = looked_at(encoder, x, ragged, pos)
    encoder.add_hook("*", WeightsByHead(), first=True)
    state, weights = looked_at(encoder, x, ragged, pos)
    assert_close(state, expected)
    for ours, stock_ones in zip(weights, theirs, strict=True):
        assert_close(ours.transpose(1, 2)[~ragged], stock_ones.transpose(1, 2)[~ragged])
    assert not torch.allclose(weights[1], weights[3], atol=1e-3), "loops differ"


class OneMoreKey(Hook):
    """Puts attention with a further key into every layer."""

    def around_step(self, state, layer, call):
        name, module = attention_of(layer)
        return call(state, with_attention(layer, name, Attention(module, torch.ones(HEADS, SIZE))))


def test_attention_of_another_hook_stays(stock, positions, batch, ragged):
    bank, x = stock(4, "conformer", "RelPosMHAXL"), batch()
    encoder = RecursiveEncoder(bank, SCHEDULE, {"recurrent": [OneMoreKey()]})
    pos = positions("RelPosMHAXL", x)
    expected = looked_at(encoder, x, ragged, pos)
    encoder.add_hook("*", WeightsByHead(), first=True)
    assert_close(looked_at(encoder, x, ragged, pos), expected)


def test_a_block_without_attention_weights_is_refused(stock):
    encoder = RecursiveEncoder(stock(2, "rope"), standard(2))
    with pytest.raises(TypeError, match="RopeBlock has no self-attention"):
        encoder.add_hook("*", WeightsByHead(), first=True)
