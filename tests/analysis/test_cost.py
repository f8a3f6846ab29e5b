"""Counted costs against figures worked out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from speechbrain_recursive.analysis.cost import (
    count_parameters,
    multiply_adds,
    peak_activation_bytes,
)

BATCH, TIME, WIDTH, HEADS, FFN = 2, 50, 64, 4, 128


def test_shared_parameters_count_once():
    tied = nn.Linear(8, 8)
    parts = {"encoder": nn.ModuleList([tied, nn.Linear(8, 2)]), "decoder": nn.Sequential(tied)}
    assert count_parameters(parts) == {"encoder": 72 + 18, "decoder": 0, "total": 90}


def run(module, *shape):
    frames = torch.zeros(shape, device=next(module.parameters()).device)
    return multiply_adds(lambda: module(frames))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_convolutions_and_linear_maps(device):
    conv1d = nn.Conv1d(WIDTH, 32, 5, groups=4, device=device)
    conv2d = nn.Conv2d(1, 8, 3, stride=2, device=device)
    linear = nn.Linear(WIDTH, 7, device=device)
    assert run(conv1d, BATCH, WIDTH, TIME) == BATCH * (TIME - 4) * 32 * (WIDTH // 4) * 5
    assert run(conv2d, 1, 1, 21, 11) == 10 * 5 * 8 * 9
    assert run(linear, BATCH, TIME, WIDTH) == BATCH * TIME * WIDTH * 7


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("masked", [False, True])
def test_fused_attention(device, masked):
    query = torch.zeros(BATCH, HEADS, TIME, WIDTH // HEADS, device=device)
    mask = torch.zeros(BATCH, 1, TIME, TIME, device=device) if masked else None
    counted = multiply_adds(lambda: F.scaled_dot_product_attention(query, query, query, mask))
    assert counted == 2 * BATCH * TIME * TIME * WIDTH


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("training", [False, True])
def test_whole_layer_whatever_kernel_runs_it(device, training):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FFN, batch_first=True, device=device)
    layer.train(training)
    projections = BATCH * TIME * WIDTH * (4 * WIDTH + 2 * FFN)
    assert run(layer, BATCH, TIME, WIDTH) == projections + 2 * BATCH * TIME * TIME * WIDTH
    assert torch.backends.mha.get_fastpath_enabled()


def step(loops, recompute, device="meta"):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FFN, batch_first=True, device=device)
    frames = torch.zeros(BATCH, TIME, WIDTH, device=device)

    def loss():
        x = frames
        for _ in range(loops):
            x = checkpoint(layer, x, use_reentrant=False) if recompute else layer(x)
        return x.sum()

    return loss


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_activations_grow_with_loops_unless_recomputed(device):
    one, two, eight = (peak_activation_bytes(step(n, False, device)) for n in (1, 2, 8))
    assert eight - one == pytest.approx(7 * (two - one), rel=0.05)
    assert two > 1.9 * one
    one, two, eight = (peak_activation_bytes(step(n, True, device)) for n in (1, 2, 8))
    boundary = BATCH * TIME * WIDTH * 4  # what stays of a loop is its input
    assert eight - one == pytest.approx(7 * boundary, rel=0.01)
    assert two < 1.1 * one


def test_what_a_recomputed_loop_needs_in_backward_is_counted():
    held = peak_activation_bytes(step(1, False))
    assert peak_activation_bytes(step(1, True)) == pytest.approx(held, rel=0.01)


def test_parameters_gradients_and_freed_tensors_are_not_activations():
    layer = nn.Linear(1000, 1000, bias=False)
    frames = torch.zeros(4, 1000)

    def loss():
        with torch.no_grad():
            for _ in range(50):
                frames + 1  # freed at once, so only one is ever alive
        return layer(frames).sum()

    assert peak_activation_bytes(loss) == 4 * 1000 * 4 + 4
    assert layer.weight.grad is not None  # the backward pass did run
