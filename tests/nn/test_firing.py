"""Integrate-and-fire: equal to a loop over frames, and exact counts of scaled weights."""

import pytest
import torch

from speechbrain_recursive.nn.firing import integrate_and_fire, scaled
from speechbrain_recursive.nn.padding import pad_mask

WIDTH = 6
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def slow(x, weights, threshold, tail):
    """Section 2.1.1, frame by frame, for one utterance: states, and where each of them ends."""
    states, ends = [], []
    held, state = weights.new_zeros(()), x.new_zeros(x.shape[1])
    for u, (frame, weight) in enumerate(zip(x, weights, strict=True)):
        rest = weight
        while held + rest >= threshold:  # the weight of this frame is split at each boundary
            used = threshold - held
            states.append(state + used * frame)
            rest = rest - used
            ends.append(u + 1 - float(rest / weight))
            held, state = weights.new_zeros(()), x.new_zeros(x.shape[1])
        held, state = held + rest, state + rest * frame
    if tail is not None and held > tail:
        states.append(state / held * threshold)
        ends.append(float(weights.nonzero().max()) + 1)
    return torch.stack(states) if states else x.new_zeros(0, x.shape[1]), ends


def compare(x, weights, frames, threshold=1.0, tail=0.5):
    """States, counts, boundaries and gradients beside the loop's, utterance by utterance."""
    x, weights = x.clone().requires_grad_(), weights.clone().requires_grad_()
    fast = integrate_and_fire(x, weights * ~pad_mask(frames, x.shape[1]), threshold, tail)
    expected = [
        slow(x[row, :n], weights[row, :n], threshold, tail) for row, n in enumerate(frames.tolist())
    ]
    assert fast.counts.tolist() == [len(states) for states, _ in expected]
    probe = torch.randn(fast.states.shape)
    total = (x.sum() + weights.sum()) * 0
    for row, (states, ends) in enumerate(expected):
        n = len(states)
        torch.testing.assert_close(fast.states[row, :n], states, **CLOSE)
        assert not fast.states[row, n:].any()
        torch.testing.assert_close(fast.boundaries[row, :n], torch.tensor(ends), atol=1e-4, rtol=0)
        total = total + (states * probe[row, :n]).sum()
    seen = torch.autograd.grad((fast.states * probe).sum(), (x, weights))
    for ours, theirs in zip(seen, torch.autograd.grad(total, (x, weights)), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    return fast


@pytest.mark.parametrize("highest", [0.4, 1.0, 3.5], ids=lambda highest: f"up to {highest}")
@pytest.mark.parametrize(("threshold", "tail"), [(1.0, 0.5), (1.0, None), (0.8, 0.3)])
def test_it_equals_a_loop_over_frames(highest, threshold, tail):
    """Weights up to 3.5 fire several times within a frame."""
    torch.manual_seed(0)
    frames = torch.tensor([23, 1, 0, 17, 22])
    fast = compare(torch.randn(5, 23, WIDTH), torch.rand(5, 23) * highest, frames, threshold, tail)
    assert fast.counts[0] > 2


def test_a_firing_exactly_at_the_threshold():
    """The token ends there, and the next one begins with the next frame."""
    torch.manual_seed(1)
    weights = torch.tensor([[0.25, 0.75, 0.5, 0.5, 1.0, 2.0, 0.25, 0.25]])
    fast = compare(torch.randn(1, 8, WIDTH), weights, torch.tensor([8]))
    assert fast.counts.tolist() == [5]
    assert fast.boundaries.tolist() == [[2.0, 4.0, 5.0, 5.5, 6.0]]


def test_weights_of_zero_fire_nothing():
    weights = torch.tensor([[0.0] * 4, [0.0, 0.7, 0.0, 0.0]])
    fast = compare(torch.randn(2, 4, WIDTH), weights, torch.tensor([4, 4]))
    assert fast.counts.tolist() == [0, 1]


@pytest.mark.parametrize(("tail", "count"), [(0.499, 2), (0.5, 2), (0.501, 3), (0.999, 3)])
def test_a_tail_above_one_half_fires(tail, count):
    """A state that fires at the tail is scaled to the threshold, as the weight of every state."""
    weights = torch.tensor([[0.5, 0.5, 0.75, 0.25, tail]])
    fast = compare(torch.randn(1, 5, WIDTH), weights, torch.tensor([5]))
    assert fast.counts.tolist() == [count]
    ones = integrate_and_fire(torch.ones(1, 5, 1), weights)
    torch.testing.assert_close(ones.states, torch.ones(1, count, 1))


@pytest.mark.parametrize("threshold", [1.0, 0.7])
def test_scaled_weights_fire_once_for_each_token(threshold):
    """For any weights, lengths and counts; the sum of an utterance may round to either side."""
    torch.manual_seed(2)
    for size in [1e-9, 1e-3, 1.0]:
        frames = torch.randint(1, 60, (400,))
        counts = torch.randint(1, 90, (400,))
        pad = pad_mask(frames, 60)
        weights = (torch.rand(400, 60) * size).masked_fill(pad, 0.0)
        weights[::50] = 0.0
        weights = scaled(weights, pad, counts * threshold)
        fired = integrate_and_fire(torch.ones(400, 60, 1), weights, threshold, counts=counts)
        assert torch.equal(fired.counts, counts)
        here = ~pad_mask(counts, fired.states.shape[1])
        torch.testing.assert_close(fired.states[..., 0], threshold * here, **CLOSE)
        last = fired.boundaries.gather(1, counts[:, None] - 1)[:, 0]
        torch.testing.assert_close(last, frames.float(), atol=1e-4, rtol=0)


def test_scaled_weights_have_the_gradient_of_the_formula():
    torch.manual_seed(3)
    x, logits = torch.randn(1, 9, WIDTH), torch.randn(1, 9, requires_grad=True)
    frames, counts, probe = torch.tensor([7]), torch.tensor([4]), torch.randn(4, WIDTH)
    pad = pad_mask(frames, 9)
    weights = scaled(logits.sigmoid().masked_fill(pad, 0.0), pad, counts)
    fast = integrate_and_fire(x, weights, counts=counts).states[0]
    plain = logits[0, :7].sigmoid()
    expected, _ = slow(x[0, :7], plain * 4 / plain.sum(), 1.0, 0.5)
    torch.testing.assert_close(fast, expected, **CLOSE)
    seen, wanted = (torch.autograd.grad((s * probe).sum(), logits)[0] for s in (fast, expected))
    torch.testing.assert_close(seen, wanted, **CLOSE)
