"""Counted costs against calculations by hand."""

from itertools import pairwise

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from speechbrain_recursive.analysis.cost import (
    count_parameters,
    multiply_adds,
    multiply_adds_per_second,
    peak_activation_bytes,
    training_step_activation_bytes,
)
from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.frontend import ConvSubsampling
from speechbrain_recursive.nn.heads import CTCHead, Seq2SeqHead
from speechbrain_recursive.nn.larm import RopeEncoder
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.schedule import cycle

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
    boundary = BATCH * TIME * WIDTH * 4  # only the input of a loop is kept
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
                frames + 1  # freed at once, so only one is alive at a time
        return layer(frames).sum()

    assert peak_activation_bytes(loss) == 4 * 1000 * 4 + 4
    assert layer.weight.grad is not None  # the backward pass did run


def model_on(device, seq2seq=False):
    """Two rotary layers of width 16 that loop three times, and heads over 30 tokens."""
    normalize = InputNormalization(norm_type="sentence")
    embed = FilterbankEmbedding(Fbank(n_mels=40), normalize, ConvSubsampling(4), 40, d_model=16)
    layers = RopeEncoder(2, d_model=16, nhead=2, d_ffn=64)
    heads = {"ctc": CTCHead(16, n_tokens=30)}
    if seq2seq:
        heads["seq2seq"] = Seq2SeqHead(16, n_tokens=30, num_layers=1, nhead=2, d_ffn=32)
    return ASRModel(embed, RecursiveEncoder(layers, cycle(2, loops=3)), heads).to(device)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_multiply_adds_of_a_model_grow_with_depth_by_its_layers(device):
    model = model_on(device).eval()
    counts = [multiply_adds_per_second(model, model.depth(loops), seconds=4) for loops in (1, 3, 5)]
    frames = 101  # 401 feature frames, subsampled by four
    layers = 2 * (frames * 16 * (4 * 16 + 2 * 64) + 2 * frames * frames * 16)
    for fewer, more in pairwise(counts):
        assert more - fewer == pytest.approx(2 * layers / 4, abs=1)
    assert multiply_adds_per_second(model, seconds=4) == counts[1]
    outside = counts[0] - layers / 4
    convolutions = 4 * 9 * 201 * 20 + 4 * 4 * 9 * frames * 10
    assert outside == pytest.approx((convolutions + frames * (40 * 16 + 16 * 30)) / 4, abs=1)


def test_multiply_adds_per_second_leave_out_what_runs_per_token():
    alone, both = (model_on("meta", seq2seq).eval() for seq2seq in (False, True))
    assert multiply_adds_per_second(both) == multiply_adds_per_second(alone)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_activations_of_a_training_step_are_those_of_all_heads(device):
    alone, both = (model_on(device, seq2seq).train() for seq2seq in (False, True))
    counts = [training_step_activation_bytes(model, seconds=2) for model in (alone, both)]
    assert counts[0] < counts[1]
    assert both.heads["seq2seq"].linear.weight.grad is not None
    assert both.heads["ctc"].linear.weight.grad is not None
    more = training_step_activation_bytes(both, seconds=2, tokens_per_second=50)
    assert more > counts[1] + 90 * 30 * 4  # 90 more tokens of 30 log-posteriors at least
