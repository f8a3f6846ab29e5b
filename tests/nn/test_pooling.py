"""Max-pooling between blocks: its frames, its padding and its positions."""

from dataclasses import replace

import pytest
import torch

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.pooling import MaxPool
from speechbrain_recursive.nn.positions import RelativePositions
from speechbrain_recursive.nn.schedule import latent, stages
from speechbrain_recursive.nn.state import State

SCHEDULES = {
    "stages": (stages([1, 2, 1]), {"stage1": [MaxPool()], "stage2": [MaxPool(3)]}),
    "latent": (latent(1, 2, 1, 1), {"prelude": [MaxPool()], "recurrent": [MaxPool(3)]}),
}


@pytest.mark.parametrize("stride", [2, 3])
def test_a_frame_is_the_maximum_of_its_frames(stride):
    torch.manual_seed(0)
    frames = torch.tensor([7, 6, 3, 1])
    state = State(torch.randn(4, 7, 5) - 3, pad=pad_mask(frames, 7))  # padding by zeros would win
    pooled = MaxPool(stride).leave_block(state)
    assert pooled.frames.tolist() == [-(-n // stride) for n in frames.tolist()]
    for row, n in enumerate(frames.tolist()):
        windows = [window.amax(0) for window in state.x[row, :n].split(stride)]
        torch.testing.assert_close(pooled.x[row, : len(windows)], torch.stack(windows))
        assert not pooled.x[row, len(windows) :].any()


def test_without_padding():
    state = State(torch.randn(2, 6, 5))
    assert torch.equal(MaxPool().leave_block(state).x, state.x.unflatten(1, (3, 2)).amax(2))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("attention", ["RelPosMHAXL", "regularMHA"])
def test_padding_is_exact_through_a_pooled_encoder(stock, name, attention):
    """With odd lengths at every pooling; and an utterance's gradient is its own."""
    schedule, hooks = SCHEDULES[name]
    encoder = RecursiveEncoder(stock(schedule.n_layers, "conformer", attention), schedule, hooks)
    assert encoder.stride == 6
    positions = RelativePositions(16) if attention == "RelPosMHAXL" else torch.nn.Identity()
    torch.manual_seed(1)
    frames, x = torch.tensor([25, 13, 6, 1]), torch.randn(4, 25, 16).requires_grad_()
    depth = Depth(schedule)
    whole = encoder.run(positions(State(x, pad=pad_mask(frames, 25))), depth).state
    assert whole.frames.tolist() == [5, 3, 1, 1]
    probe = torch.randn_like(whole.x)
    total = sum((whole.x[row, :n] * probe[row, :n]).sum() for row, n in enumerate(whole.frames))
    gradient = torch.autograd.grad(total, x)[0]
    for row, n in enumerate(frames.tolist()):
        own = x.detach()[row : row + 1, :n].requires_grad_()
        alone = encoder.run(positions(State(own)), depth).state.x
        count = alone.shape[1]
        torch.testing.assert_close(whole.x[row, :count], alone[0], atol=1e-4, rtol=0)
        expected = torch.autograd.grad((alone[0] * probe[row, :count]).sum(), own)[0]
        torch.testing.assert_close(gradient[row, :n], expected[0], atol=1e-4, rtol=0)
        assert not gradient[row, n:].any()


def test_an_exit_leaves_through_the_pooling(stock):
    schedule, hooks = SCHEDULES["latent"]
    encoder = RecursiveEncoder(stock(3, "conformer"), schedule, hooks)
    torch.manual_seed(2)
    state, stop = State(torch.randn(2, 12, 16)), Depth(schedule).stop("recurrent", 1)
    run = encoder.run(state, Depth(schedule), exits=[stop])
    expected = encoder.run(replace(state), stop).state
    assert torch.equal(run.exits[stop].x, expected.x)
    assert expected.x.shape == (2, 2, 16)
