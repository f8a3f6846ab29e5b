"""The state: rows that leave and come back, and a time axis that changes."""

import pytest
import torch

from speechbrain_recursive.nn.schedule import Step
from speechbrain_recursive.nn.state import State


def state(batch=3, frames=5, heads=2, **kwargs):
    torch.manual_seed(0)
    counts = torch.tensor([5, 3, 1])[:batch]
    return State(
        torch.rand(batch, frames, 4),
        pad=torch.arange(frames) >= counts[:, None],
        mask=torch.rand(batch * heads, frames, frames) > 0.5,
        pos=torch.rand(1, 2 * frames - 1, 4),
        memory={"z0": torch.rand(batch, 2)},
        **kwargs,
    )


def test_frames_come_from_the_mask():
    assert state().frames.tolist() == [5, 3, 1]


def test_frames_without_a_mask_are_all():
    assert State(torch.rand(2, 7, 4)).frames.tolist() == [7, 7]


def test_select_takes_everything_that_belongs_to_the_rows():
    whole = state()
    part = whole.select(torch.tensor([2, 0]))
    assert torch.equal(part.x, whole.x[[2, 0]])
    assert torch.equal(part.pad, whole.pad[[2, 0]])
    assert torch.equal(part.mask, whole.mask[[4, 5, 0, 1]])
    assert part.pos is whole.pos
    assert torch.equal(part.memory["z0"], whole.memory["z0"][[2, 0]])


def test_scatter_writes_back_what_select_took():
    whole = state()
    rows = torch.tensor([2, 0])
    part = whole.select(rows)
    assert torch.equal(whole.scatter(rows, part).x, whole.x)
    step = Step(3, 1, 2, "recurrent")
    memory = {"z0": part.memory["z0"] + 1, "new": torch.ones(2, 6)}
    changed = State(part.x + 1, step=step, memory=memory)
    after = whole.scatter(rows, changed)
    assert torch.equal(after.x[rows], whole.x[rows] + 1)
    assert torch.equal(after.x[1], whole.x[1])
    assert torch.equal(after.memory["z0"][rows], whole.memory["z0"][rows] + 1)
    assert torch.equal(after.memory["z0"][1], whole.memory["z0"][1])
    assert after.memory["new"].sum(1).tolist() == [6, 0, 6], "rows that had gone get zeros"
    assert after.step == step, "the last step that ran"
    assert torch.equal(after.pad, whole.pad)


def test_memory_of_another_shape_is_of_another_block():
    """Such as what a block before a pooling left under the same name."""
    whole = State(torch.rand(3, 4, 4), memory={"z0": torch.ones(3, 8, 4)})
    part = State(torch.rand(1, 4, 4), memory={"z0": torch.ones(1, 4, 4)})
    after = whole.scatter(torch.tensor([1]), part)
    assert after.memory["z0"].shape == (3, 4, 4)
    assert after.memory["z0"].sum((1, 2)).tolist() == [0, 16, 0]


def test_resize_recuts_relative_positions_about_their_center():
    whole = State(torch.rand(2, 5, 4), pad=torch.zeros(2, 5).bool(), pos=torch.arange(-4, 5)[None])
    short = whole.resize(torch.rand(2, 3, 4), torch.tensor([3, 2]))
    assert short.pos.tolist() == [[-2, -1, 0, 1, 2]]
    assert short.frames.tolist() == [3, 2]


def test_resize_refuses_what_it_cannot_cut():
    with pytest.raises(ValueError, match="attention mask"):
        state().resize(torch.rand(3, 2, 4), torch.tensor([2, 1, 1]))
    positioned = State(torch.rand(2, 5, 4), pos=torch.rand(1, 5, 4))
    with pytest.raises(ValueError, match="more frames"):
        positioned.resize(torch.rand(2, 6, 4), torch.tensor([6, 6]))


def test_a_table_of_positions_is_recut_from_its_beginning():
    positioned = State(torch.rand(2, 5, 4), pos=torch.rand(1, 5, 4))
    short = positioned.resize(torch.rand(2, 3, 4), torch.tensor([3, 3]))
    assert torch.equal(short.pos, positioned.pos[:, :3])


def test_positions_of_each_row_go_with_it():
    whole = State(torch.rand(3, 5, 4), pos=torch.rand(3, 5, 4))
    assert torch.equal(whole.select(torch.tensor([1])).pos, whole.pos[[1]])


def test_remember_adds_to_memory_and_leaves_the_state():
    before = state()
    after = before.remember(z1=torch.ones(3, 1))
    assert list(before.memory) == ["z0"]
    assert list(after.memory) == ["z0", "z1"]
    assert after.memory["z0"] is before.memory["z0"]
    assert after.x is before.x


def test_states_are_frozen():
    with pytest.raises(AttributeError):
        state().x = None
