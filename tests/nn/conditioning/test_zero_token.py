"""Zero tokens and gates: without effect at first, then equal to attention with a key of value zero."""

import copy
import math

import pytest
import torch

from speechbrain_recursive.nn.conditioning.zero_token import ZeroToken
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import bicycle, head_tail
from speechbrain_recursive.nn.state import State

LOOPS = 3
SCHEDULE = head_tail(4, LOOPS)
X = torch.randn(4, 9, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pair(stock):
    """``pair(family, attention)``: an encoder without the hook and one with it, over equal weights."""

    def build(family, attention, **options):
        layers = stock(4, family, attention)
        hooks = {"recurrent": [ZeroToken(LOOPS)]}
        plain = RecursiveEncoder(copy.deepcopy(layers), SCHEDULE).eval()
        return plain, RecursiveEncoder(layers, SCHEDULE, hooks, **options).eval()

    return build


def fill(encoder):
    """Trained values for keys, amounts and gates."""
    torch.manual_seed(5)
    for parameter in encoder.hooks.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return encoder


def by_hand(layer, hook, index, loop, x):
    """A pre-norm Transformer layer whose attention has one more key of value zero, and the gate."""
    attention, normed = layer.self_att.att, layer.norm1(x)
    heads, width = attention.num_heads, attention.head_dim
    projected = torch.nn.functional.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    outputs = []
    for head in range(heads):
        of_head = slice(head * width, (head + 1) * width)
        query, keys, values = (part[..., of_head] for part in projected.chunk(3, -1))
        zero_key = hook.keys[index][loop, head].expand(len(x), 1, width)
        more = torch.cat([keys, zero_key], 1), torch.cat([values, torch.zeros(len(x), 1, width)], 1)
        without, with_zero = (
            torch.softmax(query @ k.mT / math.sqrt(width), -1) @ v for k, v in ((keys, values), more)
        )
        amount = torch.tanh(hook.amounts[index][loop])
        outputs.append((1 - amount) * without + amount * with_zero)
    y = x + attention.out_proj(torch.cat(outputs, -1))
    y = y + layer.pos_ffn(layer.norm2(y))
    gate = 2 / (1 + torch.exp(-hook.gates[index](x)))
    return x + gate * (y - x)


def test_it_equals_attention_with_one_more_key(pair):
    _, encoder = pair("transformer", "regularMHA")
    hook, layers = fill(encoder).hooks["recurrent"][0], encoder.layers
    hook.amounts["1"].data[0] = 30.0  # the zero token in full
    x = encoder.adapter.call(State(X), layers[0])[0]
    for loop in range(LOOPS):
        for index in (1, 2):
            x = by_hand(layers[index], hook, str(index), loop, x)
    x = encoder.norm(encoder.adapter.call(State(x), layers[3])[0])
    torch.testing.assert_close(encoder(X)[0], x)


def test_a_new_hook_changes_nothing(pair, kind, positions, ragged):
    plain, encoder = pair(*kind)
    kwargs = {"pos_embs": positions(kind[1], X), "src_key_padding_mask": ragged}
    for loops in (1, LOOPS, LOOPS + 1):
        given, expected = (each(X, loops=loops, **kwargs)[0] for each in (encoder, plain))
        torch.testing.assert_close(given[~ragged], expected[~ragged])


def test_the_gate_at_one_is_the_layer_to_the_bit(pair):
    """Attention is computed in another order, so that only the gate can be compared bit by bit."""
    _, encoder = pair("transformer", "regularMHA")
    (hook,) = encoder.hooks["recurrent"]
    state = State(X, step=next(step for step in SCHEDULE if step.block == "recurrent"))
    y = torch.rand_like(state.x)
    given, _ = hook.around_step(state, encoder.layers[1], lambda state, layer: (y, None))
    assert torch.equal(given, y)


def test_it_trains_from_the_start(pair):
    """Keys wait for their amounts, which are zero at first."""
    _, encoder = pair("conformer", "regularMHA")
    (hook,) = encoder.hooks["recurrent"]
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1.0)
    weight = torch.rand(X.shape, generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        optimizer.zero_grad()
        (encoder(X)[0] * weight).sum().backward()
        optimizer.step()
    for name, parameter in hook.named_parameters():
        parts = parameter.grad if name.startswith(("keys", "amounts")) else [parameter.grad]
        assert all(part.abs().sum() > 0 for part in parts), name


def test_recomputed_gradients_are_the_same(pair, loss, gradients):
    found = []
    for recompute in (False, True):
        _, encoder = pair("conformer", "regularMHA", recompute=recompute)
        loss(fill(encoder)(X)[0]).backward()
        found.append(gradients(encoder))
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name])


def test_batches_give_what_single_utterances_do(pair, kind, positions, ragged):
    """Rows of several lengths that leave the block after loops of their own."""
    _, encoder = pair(*kind)
    fill(encoder)
    counts = (1, 4, 2, 3)
    pos = positions(kind[1], X)
    depth = Depth.of(SCHEDULE, counts)
    together = encoder.run(State(X, pad=ragged, pos=pos), depth).state.x
    for row, count in enumerate(counts):
        frames = int((~ragged[row]).sum())
        alone = X[row : row + 1, :frames]
        state = State(alone, pos=positions(kind[1], alone))
        expected = encoder.run(state, Depth(SCHEDULE.with_loops(count))).state.x
        torch.testing.assert_close(together[row : row + 1, :frames], expected, atol=1e-4, rtol=1e-4)


def test_loops_beyond_the_pool_use_the_last_keys(pair):
    _, encoder = pair("transformer", "regularMHA")
    (hook,) = fill(encoder).hooks["recurrent"]
    four = encoder(X, loops=LOOPS + 1)[0]
    hook.loops = LOOPS + 1
    for table in (*hook.keys.values(), *hook.amounts.values()):
        table.data = torch.cat([table.data, table.data[-1:]])
    assert torch.equal(encoder(X, loops=LOOPS + 1)[0], four)


def test_both_groups_of_bicycle_take_it(stock):
    hooks = {"phonetic": [ZeroToken(2)], "linguistic": [ZeroToken(2)]}
    encoder = RecursiveEncoder(stock(4), bicycle(2, 2, 2, 2), hooks).eval()
    plain = RecursiveEncoder(stock(4), bicycle(2, 2, 2, 2)).eval()
    torch.testing.assert_close(encoder(X)[0], plain(X)[0])


def test_it_needs_a_loop():
    with pytest.raises(ValueError, match="ZeroToken"):
        ZeroToken(0)


def test_it_needs_an_attention_that_takes_a_further_key(stock):
    with pytest.raises(TypeError, match="attention"):
        RecursiveEncoder(stock(4, "rope"), SCHEDULE, {"recurrent": [ZeroToken(2)]})
