"""The part that integrates and fires: padding, targets, precision and sizes."""

from dataclasses import replace

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.cif import Cif
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.state import State

WIDTH = 6


@pytest.fixture
def cif():
    torch.manual_seed(4)
    part = Cif(WIDTH).eval()
    torch.nn.init.normal_(part.conv.weight, std=0.5)
    return part


def batch(frames=(14, 3, 9, 1)):
    frames = torch.tensor(frames)
    torch.manual_seed(5)
    return State(torch.randn(len(frames), 14, WIDTH) * 3, pad=pad_mask(frames, 14))


def with_tokens(state, counts=(4, 2, 7, 5)):
    tokens = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    return state.remember(tokens_bos=tokens * 3)


@pytest.mark.parametrize("training", [False, True])
def test_an_utterance_gives_the_same_alone(cif, training):
    """Even if its tokens are more than its frames; whatever stands in the padding."""
    cif.train(training)
    cif.dropout.p = 0.0
    whole = with_tokens(batch())
    fired = cif(replace(whole, x=whole.x.masked_fill(whole.pad[..., None], 50.0)))
    for row, n in enumerate(whole.frames.tolist()):
        alone = whole.select(torch.tensor([row]))
        alone = cif(replace(alone, x=alone.x[:, :n], pad=alone.pad[:, :n]))
        count = int(alone.frames)
        assert int(fired.frames[row]) == count
        for ours, theirs in [
            (fired.x[row, :count], alone.x[0, :count]),
            (fired.memory["boundaries"][row, :count], alone.memory["boundaries"][0, :count]),
            (fired.memory["weights"][row, :n], alone.memory["weights"][0]),
            (fired.memory["quantity"][row], alone.memory["quantity"][0]),
        ]:
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_targets_give_the_count_in_training_alone(cif):
    state = with_tokens(batch())
    free = cif(state)
    assert torch.equal(free.x, cif(batch()).x)
    fired = cif.train()(state)
    assert fired.frames.tolist() == [4, 2, 7, 5]
    assert fired.x.shape == (4, 7, WIDTH)
    assert fired.pos is fired.mask is None
    unscaled = Cif(WIDTH, scaling=False)
    assert unscaled.train()(state).frames.tolist() != [4, 2, 7, 5]


def test_the_quantity_is_that_of_the_weights_before_scaling(cif):
    state = batch()
    weights = cif.train()(with_tokens(state)).memory["weights"]
    assert not weights[state.pad].any()
    assert (weights[~state.pad] < 1).all()
    cif.dropout.p = 0.0
    memory = cif(with_tokens(state)).memory
    torch.testing.assert_close(memory["quantity"], memory["weights"].sum(1))


@pytest.mark.parametrize("seed", range(3))
def test_frames_start_with_the_weight_of_speech(seed):
    """10 s of speech in frames of 80 ms have 30 to 40 tokens."""
    torch.manual_seed(seed)
    frames = torch.nn.functional.layer_norm(torch.randn(1, 125, 96), [96])
    assert 30 < Cif(96)(State(frames)).memory["quantity"] < 40


@pytest.mark.parametrize("training", [False, True])
def test_autocast_changes_nothing(cif, training):
    """Not a bit: sums of bfloat16 weights would be off by whole tokens."""
    cif.train(training)
    cif.dropout.p = 0.0
    plain = cif(with_tokens(batch()))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = cif(with_tokens(batch()))
    assert mixed.x.dtype == torch.float32
    assert torch.equal(mixed.x, plain.x)
    assert torch.equal(mixed.pad, plain.pad)


def test_it_has_a_size_without_data():
    part = Cif(WIDTH, threshold=0.5, tail=0.2).to("meta").eval()
    assert part(State(torch.empty(2, 7, WIDTH, device="meta"))).x.shape == (2, 14, WIDTH)


def test_a_state_without_padding_is_of_full_length(cif):
    state = replace(batch((14, 14)), pad=None)
    padded = replace(state, pad=torch.zeros(2, 14, dtype=torch.bool))
    assert torch.equal(cif(state).pad, cif(padded).pad)
    assert torch.equal(cif(state).x, cif(padded).x)


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"tail": 1.0}, {"tail": -0.1}])
def test_options_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"^CIF: {name} "):
        Cif(WIDTH, **options)
