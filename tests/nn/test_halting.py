"""Adaptive exit: each row leaves by its own criterion, and gives what it gives alone."""

import pytest
import torch
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder

from speechbrain_recursive.nn.conditioning.injection import StateInjection
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.halting import CRITERIA, Halting
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.schedule import latent
from speechbrain_recursive.nn.state import State

FRAMES = torch.tensor([12, 7, 9, 12])
X = torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))


def head(x):
    return x @ WEIGHT


def encoder(criterion, threshold, **options):
    torch.manual_seed(3)
    stock = TransformerEncoder(3, nhead=2, d_ffn=16, d_model=8, normalize_before=True)
    hooks = {"recurrent": [Halting(criterion, threshold, **options)]}
    return RecursiveEncoder(stock, latent(1, 6, 1, 1), hooks).eval()


def run(model, x=X, frames=FRAMES, loops=None):
    with torch.no_grad():
        return model.run(begin(x, frames), Depth.of(model.schedule, loops)).state.x


def begin(x=X, frames=FRAMES):
    return State(x, pad=pad_mask(frames, x.shape[1]), readout=head)


def measured(model, criterion):
    """The criterion of each row after each loop [6, 4], by plain loops over rows and frames."""
    rows = []
    for loops in range(1, 7):
        depth = Depth.of(model.schedule, loops)
        taps = model.run(begin(), depth, taps=(loops - 1, loops)).taps
        before, after = taps[loops - 1].x, taps[loops].x
        row = []
        for i, count in enumerate(FRAMES.tolist()):
            total = 0.0
            for t in range(count):
                p, q = head(before[i, t]).softmax(0), head(after[i, t]).softmax(0)
                a, b = before[i, t], after[i, t]
                total += {
                    "cosine": 1 - a @ b / a.norm() / b.norm(),
                    "kl": sum(y * (y / x).log() for x, y in zip(p, q, strict=True)),
                    "entropy": -sum(y * y.log() for y in q),
                }[criterion]
            row.append(float(total) / count)
        rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_rows_leave_at_their_own_loop(criterion):
    values = measured(encoder(criterion, 0.0), criterion)
    for threshold in (values.flatten().sort().values + 1e-6).tolist():
        below = torch.cat([values[:-1] < threshold, torch.ones(1, 4, dtype=torch.bool)])
        expected = (below.int().argmax(0) + 1).tolist()
        if len(set(expected)) > 2:
            break
    else:
        pytest.fail("no threshold tells the rows apart")
    model = encoder(criterion, threshold)
    together = run(model)
    fixed = run(encoder(criterion, 0.0), loops=torch.tensor(expected))
    torch.testing.assert_close(together, fixed)
    for row, count in enumerate(FRAMES.tolist()):
        alone = run(model, X[row : row + 1, :count], FRAMES[row : row + 1])
        torch.testing.assert_close(together[row, :count], alone[0], atol=1e-5, rtol=1e-5)


def test_no_row_leaves_at_threshold_zero_or_in_training():
    never, always = encoder("cosine", 0.0), encoder("cosine", 3.0)
    torch.testing.assert_close(run(never), run(always.train()), msg="every loop is made in training")
    torch.testing.assert_close(run(always.eval()), run(never, loops=1))


def test_rows_leave_at_checkpoints_alone():
    torch.testing.assert_close(
        run(encoder("cosine", 3.0, every=4)), run(encoder("cosine", 0.0), loops=4)
    )


def test_change_is_measured_from_checkpoint_to_checkpoint():
    x, frames, model = X[:1], FRAMES[:1], encoder("cosine", 0.0)
    with torch.no_grad():
        taps = model.run(begin(x, frames), taps=(0, 3, 6)).taps
    first, second = (
        float(1 - torch.cosine_similarity(taps[i].x, taps[i + 3].x, dim=-1).mean()) for i in (0, 3)
    )
    assert second < first
    between = encoder("cosine", (first + second) / 2, every=3)
    torch.testing.assert_close(run(between, x, frames, loops=9), run(model, x, frames, loops=6))
    above = encoder("cosine", 1.1 * first, every=3)
    torch.testing.assert_close(run(above, x, frames, loops=9), run(model, x, frames, loops=3))


@pytest.mark.parametrize("first", [True, False])
def test_added_first_it_compares_what_loops_leave(first):
    """Behind a conditioning hook it would compare with what that made of the last loop's output."""
    torch.manual_seed(3)
    stock = TransformerEncoder(3, nhead=2, d_ffn=16, d_model=8, normalize_before=True)
    model = RecursiveEncoder(stock, latent(1, 6, 1, 1), {"recurrent": [StateInjection(gain=0.5)]}).eval()
    meter = Halting("cosine")
    model.add_hook("recurrent", meter, first=first)
    with torch.no_grad():
        taps = model.run(begin(), taps=range(7)).taps
        for loop in range(1, 7):
            seen = meter.measure(taps[loop])
            by_frame = 1 - torch.cosine_similarity(taps[loop - 1].x, taps[loop].x, dim=-1)
            real = ~pad_mask(FRAMES, 12)
            expected = (by_frame * real).sum(1) / FRAMES
            # the first loop begins with the block's entry state, which no hook has changed
            assert torch.allclose(seen, expected, atol=1e-6) == (first or loop == 1)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_an_exit_is_a_run_that_stops_there(criterion):
    values = measured(encoder(criterion, 0.0), criterion)
    model = encoder(criterion, float(values[:-1].median()))
    depth = Depth(model.schedule)
    exits = [depth.stop("recurrent", loops) for loops in range(1, 7)]
    with torch.no_grad():
        trace = model.run(begin(), exits=exits)
        for exit in exits:
            torch.testing.assert_close(trace.exits[exit].x, run(model, loops=exit))


def test_unknown_criterion():
    with pytest.raises(ValueError, match="'change' is none of cosine, kl, entropy"):
        Halting("change")
