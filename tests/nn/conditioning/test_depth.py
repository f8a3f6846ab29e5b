"""Hooks that condition loops on depth: without effect at first, by hand, and on stock encoders."""

import pytest
import torch
from torch.nn.functional import ctc_loss

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.backprop import Backprop
from speechbrain_recursive.nn.conditioning.depth import Clock, DepthEmbedding, DepthMLP, FiLM
from speechbrain_recursive.nn.conditioning.feedback import PosteriorFeedback
from speechbrain_recursive.nn.conditioning.injection import StateInjection
from speechbrain_recursive.nn.schedule import Step, cycle
from speechbrain_recursive.nn.state import State

HOOKS = {
    "clock": lambda: [Clock(2, 16)],
    "film": lambda: [FiLM(4, 16)],
    "mlp": lambda: [DepthMLP(4, 16)],
    "embedding": lambda: [DepthEmbedding(4, 16)],
    "previous": lambda: [PosteriorFeedback(5, 16)],
    "current": lambda: [PosteriorFeedback(5, 16, "current")],
    "injection": lambda: [StateInjection()],
    "all": lambda: [PosteriorFeedback(5, 16), StateInjection(), Clock(3, 16), FiLM(4, 16)],
}
PLACES = [(family, block) for family in ("transformer", "conformer") for block in ("latent", "bicycle")]
RAGGED = torch.arange(7) >= torch.tensor([7, 5, 2])[:, None]


def randomize(hooks):
    torch.manual_seed(4)
    for parameter in hooks.parameters():
        torch.nn.init.normal_(parameter, std=0.5)


@pytest.mark.parametrize(("family", "schedule"), [*PLACES, ("rope", cycle(2, 4))])
@pytest.mark.parametrize("name", HOOKS)
def test_new_hooks_leave_the_output_unchanged(reader, batch, family, schedule, name):
    hooked, bare = reader(family, schedule, HOOKS[name]).eval(), reader(family, schedule, list).eval()
    torch.testing.assert_close(hooked(batch, RAGGED), bare(batch, RAGGED), atol=1e-6, rtol=0)
    randomize(hooked.encoder.hooks)
    assert not torch.allclose(hooked(batch, RAGGED), bare(batch, RAGGED), atol=1e-3), "it does nothing"
    first = hooked(batch, RAGGED, loops=1)
    torch.testing.assert_close(first, bare(batch, RAGGED, loops=1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("family", "schedule"), PLACES)
@pytest.mark.parametrize("name", HOOKS)
def test_trains_on_stock_encoders(reader, batch, family, schedule, name):
    """Three steps: gradients reach every parameter, and every row of a table."""
    model = reader(family, schedule, HOOKS[name])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        log_probs = model(batch, RAGGED, loops=4).log_softmax(-1).transpose(0, 1)
        loss = ctc_loss(log_probs, torch.tensor([[1, 2], [3, 1], [4, 0]]), [7, 5, 2], [2, 2, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    for hook_name, parameter in model.encoder.hooks.named_parameters():
        rows = len(parameter) if "embedding" in hook_name else 1
        assert (parameter.grad.reshape(rows, -1).abs().sum(1) > 0).all(), hook_name


@pytest.mark.parametrize(("family", "schedule"), [*PLACES, ("rope", cycle(2, 4))])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_rows_of_a_batch_make_their_own_loops(reader, batch, family, schedule, recompute):
    """Values and gradients of each row are those it has alone."""
    model = reader(family, schedule, HOOKS["all"], recompute=recompute)
    randomize(model.encoder.hooks)
    counts = torch.tensor([2, 4, 1])
    parameters = list(model.parameters())

    def gradients(rows):
        return torch.autograd.grad(sum(row[:, 1].sum() for row in rows), parameters)

    together = model(batch, RAGGED, loops=counts)
    inside = [row[~pad] for row, pad in zip(together, RAGGED, strict=True)]
    model.encoder.backprop = Backprop()
    alone = [
        model(batch[row : row + 1][:, ~RAGGED[row]], loops=int(count))[0]
        for row, count in enumerate(counts)
    ]
    for one, other in zip(inside, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(inside), gradients(alone), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_each_loop_by_hand(reader, batch):
    """Clock, then FiLM, by the number of loops already made; the first loop is not conditioned."""
    model = reader("transformer", "latent", lambda: [Clock(3, 16), FiLM(4, 16)]).eval()
    randomize(model.encoder.hooks)
    clock, film = model.encoder.hooks["recurrent"]
    prelude, shared, coda = model.encoder.layers
    x, _ = shared(prelude(batch)[0])
    for n in range(1, 6):
        x = x + clock.embedding.weight[n % 3]
        depth = torch.tensor([n / 4])
        x, _ = shared((1 + film.scale(depth)) * x + film.bias(depth))
    torch.testing.assert_close(model(batch, loops=6), model.readout(coda(x)[0]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["clock", "film", "mlp", "embedding"])
def test_weights_of_another_type(reader, batch, name, dtype):
    model = reader("rope", "latent", HOOKS[name]).to(dtype)
    assert model(batch.to(dtype)).dtype == dtype


def test_an_embedding_ends_with_its_table(reader, batch):
    """One row for each loop but the first. Hooks without a table run on."""
    model = reader("transformer", "latent", HOOKS["embedding"])
    assert model.encoder.hooks["recurrent"][0].embedding.weight.shape == (3, 16)
    model(batch, loops=4)
    with pytest.raises(UserError, match=r"^loop 5 has no depth embedding: .* made for 4 loops$"):
        model(batch, loops=6)
    for name in ("clock", "film", "mlp"):
        reader("transformer", "latent", HOOKS[name])(batch, loops=6)


def test_film_costs_what_the_paper_says():
    """Two networks of 64 hidden units: 0.05 M at width 384, the 0.1 M between 7.6 and 7.7."""
    assert sum(p.numel() for p in FiLM(12, 384).parameters()) == 2 * (64 + 64 + 64 * 384 + 384)


def test_the_first_loop_is_left_alone():
    state = State(torch.randn(2, 3, 16), step=Step(0, 0, 0, "recurrent"))
    for name in ("clock", "film", "mlp", "embedding", "previous"):
        (hook,) = HOOKS[name]()
        randomize(hook)
        assert hook.before_loop(state) is state
