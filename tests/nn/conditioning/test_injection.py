"""Injection of the entry state."""

import copy

import torch

from speechbrain_recursive.nn.conditioning.injection import StateInjection
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import latent


def pair(stock, gain, **kwargs):
    """A bank of layers bare, and with injection at the given gain."""
    bare = stock(3)
    hook = StateInjection()
    torch.nn.init.constant_(hook.gain, gain)
    schedule = latent(1, 4, 1, 1)
    bank = copy.deepcopy(bare)
    return bare, RecursiveEncoder(bank, schedule, {"recurrent": [hook]}, **kwargs)


def batch():
    torch.manual_seed(0)
    return torch.randn(3, 7, 16)


def test_a_new_hook_leaves_the_output_unchanged(stock):
    bare, injected = pair(stock, StateInjection().gain.item())
    assert torch.equal(RecursiveEncoder(bare, latent(1, 4, 1, 1))(batch())[0], injected(batch())[0])


def test_equals_a_loop_by_hand(stock):
    bare, injected = pair(stock, 0.3)
    prelude, shared, coda = bare.layers
    z0 = x = prelude(batch())[0]
    for loop in range(4):
        x, _ = shared(x + 0.3 * z0 if loop else x)
    torch.testing.assert_close(injected(batch())[0], bare.norm(coda(x)[0]))


def test_each_row_keeps_its_own_entry_state(stock):
    _, injected = pair(stock, 0.3)
    counts = torch.tensor([1, 4, 2])
    together, _ = injected(batch(), loops=counts)
    for row, count in enumerate(counts.tolist()):
        alone, _ = injected(batch()[row : row + 1], loops=count)
        torch.testing.assert_close(together[row], alone[0])


def test_gradients_reach_prelude_and_gain_through_one_loop(stock):
    for gain, reaches in ((0.3, True), (0.0, False)):
        _, injected = pair(stock, gain, grad_loops=1)
        injected(batch())[0][..., 0].sum().backward()
        assert injected.hooks["recurrent"][0].gain.grad.abs() > 0
        below = injected.layers[0].norm1.norm.weight.grad.abs().sum()
        assert bool(below > 0) == reaches
