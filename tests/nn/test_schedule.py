"""Schedules: what runs when, what they print, and which block an error names."""

import subprocess
import sys
from itertools import product

import pytest

from speechbrain_recursive.nn.schedule import (
    Block,
    Schedule,
    Step,
    bicycle,
    cycle,
    head_tail,
    latent,
    sequence,
    stages,
    standard,
    unfold,
    unfold_paths,
)


def layers(schedule):
    return [step.layer for step in schedule]


@pytest.mark.parametrize(
    ("schedule", "text", "order"),
    [
        (standard(4), "0-3", [0, 1, 2, 3]),
        (stages([1, 2]), "0 | 1-2", [0, 1, 2]),
        (cycle(2, 3), "(0-1)x3", [0, 1, 0, 1, 0, 1]),
        (sequence(2, 3), "(0)x3 | (1)x3", [0, 0, 0, 1, 1, 1]),
        (latent(2, 2, 1, 1), "0 | (1-2)x2 | 3", [0, 1, 2, 1, 2, 3]),
        (latent(2, 2, 0, 1), "(0-1)x2 | 2", [0, 1, 0, 1, 2]),
        (latent(2, 1, 1, 0), "0 | (1-2)x1", [0, 1, 2]),
        (head_tail(4, 2), "0 | (1-2)x2 | 3", [0, 1, 2, 1, 2, 3]),
        (bicycle(2, 3, 2, 3), "0 | (1)x2 | (2-3)x3 | 4", [0, 1, 1, 2, 3, 2, 3, 2, 3, 4]),
        (unfold(4, 6), "(0)x2 | (1)x2 | (2)x1 | (3)x1", [0, 0, 1, 1, 2, 3]),
        (unfold(3, 7, path=(2,)), "(0)x2 | (1)x2 | (2)x3", [0, 0, 1, 1, 2, 2, 2]),
        (unfold(4, 6, unfoldable=(2, 3)), "0 | 1 | (2)x2 | (3)x2", [0, 1, 2, 2, 3, 3]),
        (unfold(4, 4), "(0)x1 | (1)x1 | (2)x1 | (3)x1", [0, 1, 2, 3]),
    ],
)
def test_constructors(schedule, text, order):
    assert str(schedule) == text
    assert layers(schedule) == order
    assert len(schedule) == len(order)
    assert schedule.n_layers == len(set(order))
    assert [step.index for step in schedule] == list(range(len(order)))


def test_steps_know_their_loop_and_block():
    assert list(latent(1, 2, 1, 1)) == [
        Step(0, 0, 0, "prelude"),
        Step(1, 1, 0, "recurrent"),
        Step(2, 1, 1, "recurrent"),
        Step(3, 2, 0, "coda"),
    ]


def test_recursive_transformer_is_latent_without_prelude_and_coda():
    assert latent(3, 4, 0, 0) == cycle(3, 4)


@pytest.mark.parametrize(
    ("loops", "depth"), [((1, 1), 9), ((2, 2), 16), ((2, 3), 20), ((3, 2), 19), ((3, 3), 23)]
)
def test_bicycle_reaches_the_depths_of_its_paper(loops, depth):
    schedule = bicycle(4, 5, *loops)
    assert (len(schedule), schedule.n_layers) == (depth, 9)


def test_a_block_trained_with_one_loop_can_loop_later():
    assert layers(latent(1, 1, 1, 1).with_loops(3)) == [0, 1, 1, 1, 2]


def test_with_loops_changes_all_or_the_named_block_and_leaves_the_original():
    schedule = bicycle(2, 2, 1, 1)
    assert str(schedule.with_loops(4)) == "0 | (1)x4 | (2)x4 | 3"
    assert str(schedule.with_loops(linguistic=3)) == "0 | (1)x1 | (2)x3 | 3"
    assert str(schedule.with_loops(4, phonetic=2)) == "0 | (1)x2 | (2)x4 | 3"
    assert schedule == bicycle(2, 2, 1, 1)
    assert schedule.with_loops(4).loops == {"phonetic": 4, "linguistic": 4}


def test_schedules_are_values():
    assert hash(latent(2, 3, 1, 1)) == hash(latent(2, 3, 1, 1))
    with pytest.raises(AttributeError):
        latent(2, 3, 1, 1).blocks = ()


def test_ends():
    schedule = latent(4, 5, 2, 2)
    assert schedule.ends("recurrent") == (5, 9, 13, 17, 21)
    assert schedule.ends("recurrent", every=2) == (9, 17)
    assert schedule.ends("prelude") == (1,)
    assert all(list(schedule)[index].layer == 5 for index in schedule.ends("recurrent"))


def test_one_loop_of_a_schedule_without_recurrence_changes_nothing():
    assert standard(3).with_loops(1) == standard(3)


def test_unfold_paths():
    paths = unfold_paths(6, 8)
    assert len(paths) == 15
    assert len({str(unfold(6, 8, path=path)) for path in paths}) == 15
    assert {len(unfold(6, 8, path=path)) for path in paths} == {8}
    assert paths[0] == (0, 1)
    assert unfold(6, 8) == unfold(6, 8, path=(0, 1))
    assert unfold_paths(8, 12, unfoldable=(4, 5, 6, 7)) == [()]
    assert len(unfold_paths(8, 10, unfoldable=(4, 5, 6, 7))) == 6
    assert len(unfold_paths(4, 10)) == 6
    assert unfold(4, 6, path=(3, 0)) == unfold(4, 6, path=(0, 3))


def by_trying(schedule, depth):
    """Every assignment of loop counts, without the illegal and those of another depth."""
    names = list(schedule.loops)
    found = []
    for counts in product(range(1, depth + 1), repeat=len(names)):
        path = schedule.with_loops(**dict(zip(names, counts, strict=True)))
        if max(counts) - min(counts) <= 1 and len(path) == depth:
            found.append(path)
    return found


@pytest.mark.parametrize(
    "schedule",
    [
        latent(2, 3, 1, 1),
        bicycle(3, 3, 2, 1),
        bicycle(2, 4, 2, 3),
        sequence(3, 2),
        unfold(4, 7),
        unfold(5, 7, unfoldable=(1, 4)),
        Schedule(Block(str(n), range(n), recurs=True) for n in (3, 1, 2)),
    ],
    ids=str,
)
def test_paths_of_a_depth_are_all_that_are_legal(schedule):
    seed = len(schedule.with_loops(1))
    for depth in range(1, 12):
        expected = by_trying(schedule, depth)
        if not expected:
            with pytest.raises(ValueError, match=f"has depth {depth}; the nearest: ") as error:
                schedule.paths(depth)
            near = [int(each) for each in str(error.value).rpartition(": ")[2].split(", ")]
            reached = [d for d in range(1, 30) if by_trying(schedule, d)] if depth >= seed else [seed]
            below, above = [d for d in reached if d < depth], [d for d in reached if d > depth]
            assert near == below[-1:] + above[:1]
            continue
        paths = schedule.paths(depth)
        assert len(paths) == len(expected) == len(set(paths))
        assert set(paths) == set(expected)
        assert paths[0] == schedule.with_depth(depth)
    assert schedule.paths(seed) == [schedule.with_loops(1)]


def test_the_default_path_is_that_of_unfold():
    assert unfold(6, 12).with_depth(8) == unfold(6, 8)
    assert unfold(6, 6).with_depth(20) == unfold(6, 20)
    assert unfold(8, 12, unfoldable=range(4, 8)).with_depth(10) == unfold(8, 10, unfoldable=range(4, 8))
    assert [len(unfold(6, 12).paths(depth)) for depth in range(6, 13)] == [1, 6, 15, 20, 15, 6, 1]
    assert [len(unfold(4, 12).paths(depth)) for depth in (4, 6, 8, 10, 12)] == [1, 6, 1, 6, 1]
    assert [len(unfold(8, 12, range(4, 8)).paths(depth)) for depth in (8, 10, 12)] == [1, 6, 1]


def test_a_plain_schedule_has_one_depth():
    assert standard(3).paths(3) == [standard(3)]
    for depth in (2, 4):
        with pytest.raises(ValueError, match=f"the schedule 0-2 has depth {depth}; the nearest: 3$"):
            standard(3).paths(depth)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Block("coda", ()), "block 'coda' has no layers"),
        (lambda: Block("coda", (0, -1)), "block 'coda': -1 is no layer index"),
        (lambda: Block("coda", (1.0,)), "block 'coda'"),
        (lambda: latent(2, 0, 1, 1), "block 'recurrent': loops must be at least 1"),
        (lambda: latent(2, True, 1, 1), "block 'recurrent': loops"),
        (lambda: Block("coda", (0,), loops=2), "block 'coda' does not recur"),
        (lambda: Schedule((Block("a", (0,)), Block("a", (1,)))), "block 'a' stands twice"),
        (lambda: latent(2, 2, 1, 1).with_loops(0), "block 'recurrent'"),
        (lambda: latent(2, 2, 1, 1).with_loops(coda=2), "no block 'coda' that recurs"),
        (lambda: standard(3).with_loops(2), "no block of the schedule 0-2 recurs"),
        (lambda: standard(3).with_loops(layers=2), "no block 'layers' that recurs"),
        (lambda: latent(2, 2, 1, 1).ends("middle"), "no block 'middle'"),
        (lambda: standard(0), "n must be"),
        (lambda: stages([2, 0]), "stages must be"),
        (lambda: latent(0, 2, 1, 1), "n_recurrent"),
        (lambda: head_tail(2, 2), "n must be a whole number of at least 3"),
        (lambda: bicycle(1, 3, 2, 2), "n_phonetic"),
        (lambda: unfold(4, 6, path=(0, 4)), r"path \(0, 4\) of .* does not lead to depth 6"),
        (lambda: unfold(4, 6, path=(0, 0)), r"path \(0, 0\)"),
        (lambda: unfold(4, 6, path=(0,)), r"path \(0,\)"),
        (lambda: unfold(4, 6, unfoldable=(3, 4)), "block 'layer4'"),
        (lambda: unfold(4, 3), "has depth 3; the nearest: 4$"),
        (lambda: unfold(4, 5, unfoldable=()), "has depth 5; the nearest: 4$"),
        (lambda: unfold(4, 6).paths("6"), "depth must be a whole number"),
    ],
)
def test_errors_name_the_block(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_needs_no_torch():
    code = "import sys, speechbrain_recursive.nn.schedule; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("schedule", "layer", "left"),
    [
        (standard(4), 2, "0-1,3"),
        (cycle(3, 2), 0, "(1-2)x2"),
        (unfold(3, 5), 0, "(1)x2 | (2)x1"),
        (Schedule([Block("a", (0, 1)), Block("b", (1, 0))]), 1, "0 | 0"),
    ],
)
def test_a_layer_is_left_out_wherever_it_runs(schedule, layer, left):
    without = schedule.without(layer)
    assert str(without) == left
    assert [step.layer for step in without] == [s.layer for s in schedule if s.layer != layer]


@pytest.mark.parametrize(("schedule", "layer"), [(cycle(1, 3), 0), (standard(2), 2)])
def test_what_cannot_be_left_out(schedule, layer):
    with pytest.raises(ValueError, match=f"cannot run without layer {layer}"):
        schedule.without(layer)
