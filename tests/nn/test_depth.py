"""Depth: how requests are resolved, what depths print, and where a run can stop."""

import numpy as np
import pytest
import torch

from speechbrain_recursive.nn.depth import Depth, labels
from speechbrain_recursive.nn.schedule import (
    bicycle,
    cycle,
    latent,
    sequence,
    standard,
    unfold,
)

LATENT = latent(2, 3, 1, 1)
BICYCLE = bicycle(2, 3, 2, 3)


class TestResolution:
    @pytest.mark.parametrize(
        ("schedule", "request_", "text"),
        [
            (LATENT, None, "0 | (1-2)x3 | 3"),
            (LATENT, 5, "0 | (1-2)x5 | 3"),
            (LATENT, {"recurrent": 2}, "0 | (1-2)x2 | 3"),
            (LATENT, {}, "0 | (1-2)x3 | 3"),
            (LATENT, torch.tensor(4), "0 | (1-2)x4 | 3"),
            (LATENT, np.int64(4), "0 | (1-2)x4 | 3"),
            (LATENT, cycle(4, 2), "(0-3)x2"),
            (BICYCLE, None, "0 | (1)x2 | (2-3)x3 | 4"),
            (BICYCLE, 4, "0 | (1)x4 | (2-3)x4 | 4"),
            (BICYCLE, {"linguistic": 1}, "0 | (1)x2 | (2-3)x1 | 4"),
            (BICYCLE, unfold(5, 7), "(0)x2 | (1)x2 | (2)x1 | (3)x1 | (4)x1"),
            (standard(3), None, "0-2"),
            (standard(3), 1, "0-2"),
        ],
    )
    def test_of_one_count_for_all_rows(self, schedule, request_, text):
        depth = Depth.of(schedule, request_)
        assert str(depth.schedule) == text
        assert depth.rows == ()
        assert len(depth) == len(depth.schedule) == len(list(depth.schedule))

    @pytest.mark.parametrize("make", [list, tuple, torch.tensor, np.array])
    def test_of_a_count_per_row(self, make):
        depth = Depth.of(LATENT, make([2, 5, 1]))
        assert str(depth.schedule) == "0 | (1-2)x5 | 3", "the schedule of the deepest row"
        assert depth.rows == (("recurrent", (2, 5, 1)),)
        assert depth.by_row("recurrent") == (2, 5, 1)
        assert depth.by_row("coda") is None
        assert len(depth) == 12

    def test_counts_per_row_of_every_block_or_of_one(self):
        assert Depth.of(BICYCLE, [2, 1]).rows == (("phonetic", (2, 1)), ("linguistic", (2, 1)))
        depth = Depth.of(BICYCLE, {"linguistic": [4, 1], "phonetic": 3})
        assert str(depth.schedule) == "0 | (1)x3 | (2-3)x4 | 4"
        assert depth.rows == (("linguistic", (4, 1)),)

    def test_a_depth_stands_for_itself(self):
        depth = Depth.of(LATENT, [2, 5, 1])
        assert Depth.of(BICYCLE, depth) is depth

    def test_a_path_is_not_overruled(self):
        """A default loop count once erased it."""
        path = unfold(4, 6, path=(0, 3))
        assert Depth.of(path).schedule == path
        assert Depth.of(unfold(4, 6), path).schedule == path

    @pytest.mark.parametrize(
        ("schedule", "request_", "message"),
        [
            (LATENT, 0, "block 'recurrent': loops must be at least 1, got 0"),
            (LATENT, True, "block 'recurrent': loops must be at least 1, got True"),
            (LATENT, 2.5, "block 'recurrent': loops must be at least 1, got 2.5"),
            (LATENT, [2, 0], "block 'recurrent': loops must be at least 1, got 0"),
            (LATENT, torch.tensor([1, -1]), "block 'recurrent': loops must be at least 1, got -1"),
            (LATENT, [], "block 'recurrent': loops must be at least 1, got none"),
            (LATENT, {"prelude": 2}, "no block 'prelude' that recurs; there is recurrent"),
            (LATENT, {"middle": [1, 2]}, "no block 'middle' that recurs; there is recurrent"),
            (standard(3), 2, "no block of the schedule 0-2 recurs, so it cannot loop 2 times"),
            (standard(3), [2, 1], "no block of the schedule 0-2 recurs, so its rows cannot loop"),
        ],
    )
    def test_errors(self, schedule, request_, message):
        with pytest.raises(ValueError, match=message):
            Depth.of(schedule, request_)


class TestValues:
    def test_equal_depths_have_one_hash(self):
        equal = [
            Depth.of(LATENT),
            Depth.of(LATENT, 3),
            Depth.of(LATENT, {"recurrent": 3}),
            Depth.of(LATENT, [3, 3]),
            Depth.of(cycle(1, 9), LATENT),
            Depth.of(LATENT, torch.tensor([3, 3, 3])),
        ]
        assert len(set(equal)) == 1
        assert all(each == equal[0] for each in equal)

    def test_blocks_of_a_request_have_no_order(self):
        one = Depth.of(BICYCLE, {"phonetic": [1, 2], "linguistic": [3, 1]})
        other = Depth.of(BICYCLE, {"linguistic": [3, 1], "phonetic": [1, 2]})
        assert one == other
        assert hash(one) == hash(other)
        assert other.stop("linguistic", 3) == other

    def test_different_depths_differ(self):
        different = [
            *(Depth.of(LATENT, request) for request in (1, 2, 3, [1, 3], [3, 1], [1, 3, 1])),
            *(Depth.of(BICYCLE, request) for request in (4, {"phonetic": 3}, {"phonetic": [1, 3]})),
        ]
        assert len(set(different)) == len(different)

    def test_depths_are_frozen(self):
        with pytest.raises(AttributeError):
            Depth.of(LATENT).rows = ()


@pytest.mark.parametrize(
    ("schedule", "request_", "label", "loops"),
    [
        (LATENT, None, "3", 3),
        (LATENT, 20, "20", 20),
        (LATENT, [1, 20, 7], "1-20", 20),
        (cycle(4, 12), 1, "1", 1),
        (standard(12), None, "12", None),
        (BICYCLE, None, "10 (phonetic x2, linguistic x3)", None),
        (BICYCLE, {"phonetic": 1}, "9 (linguistic x3)", None),
        (BICYCLE, 1, "5", None),
        (BICYCLE, {"phonetic": [1, 4]}, "12 (phonetic x1-4, linguistic x3)", None),
        (sequence(2, 3), None, "6 (layer0-1 x3)", None),
        (unfold(4, 6, path=(0, 3)), None, "6 (layer0 x2, layer3 x2)", None),
        (unfold(4, 6, path=(1, 3)), None, "6 (layer1 x2, layer3 x2)", None),
        (unfold(4, 10, path=(1, 2)), None, "10 (layer0 x2, layer1-2 x3, layer3 x2)", None),
        (unfold(12, 22), None, "22 (layer0-9 x2)", None),
        (unfold(12, 15, path=(8, 9, 10)), None, "15 (layer8-10 x2)", None),
        (unfold(4, 8), [2, 1], "8 (layer0-3 x1-2)", None),
        (unfold(4, 4), None, "4", None),
    ],
)
def test_labels(schedule, request_, label, loops):
    depth = Depth.of(schedule, request_)
    assert str(depth) == label
    assert depth.loops == loops


def test_labels_of_several_depths_are_unique():
    """Depths of other schedules, such as a plain one in the report of a looped model."""
    path, other = Depth(unfold(3, 5, [2])), Depth(latent(1, 3, 1, 1))
    depths = [Depth(LATENT), path, other, Depth.of(LATENT, 1), Depth(standard(3)), Depth(LATENT)]
    assert [str(depth) for depth in depths] == ["3", "3", "3", "1", "3", "3"]
    assert list(labels(depths).items()) == [
        (depths[0], "3"),
        (path, "3: 0 | 1 | (2)x3"),
        (other, "3: 0 | (1)x3 | 2"),
        (depths[3], "1"),
        (depths[4], "3: 0-2"),
    ]
    paths = [Depth(path) for depth in range(6, 13) for path in unfold(6, 12).paths(depth)]
    assert len({str(depth) for depth in paths}) == len(paths) == 64


class TestStops:
    def test_stop_shortens_one_block(self):
        depth = Depth.of(BICYCLE)
        assert str(depth.stop("phonetic", 1).schedule) == "0 | (1)x1 | (2-3)x3 | 4"
        assert str(depth.stop("linguistic", 2).schedule) == "0 | (1)x2 | (2-3)x2 | 4"
        assert depth.stop("linguistic", 3) == depth

    def test_stop_holds_rows_at_a_limit(self):
        depth = Depth.of(BICYCLE, {"phonetic": [3, 1, 2], "linguistic": [1, 2, 1]})
        assert depth.stop("phonetic", 2).by_row("phonetic") == (2, 1, 2)
        assert depth.stop("phonetic", 2).by_row("linguistic") == (1, 2, 1)
        assert depth.stop("phonetic", 1).by_row("phonetic") is None
        assert depth.stop("phonetic", 1).schedule.loops == {"phonetic": 1, "linguistic": 2}

    @pytest.mark.parametrize("request_", [None, 4, [4, 1], {"phonetic": [1, 4], "linguistic": [2, 3]}])
    def test_exit_is_the_inverse_of_stop(self, request_):
        depth = Depth.of(BICYCLE, request_)
        for block, made in depth.schedule.loops.items():
            for loops in range(1, made):
                assert depth.exit(depth.stop(block, loops)) == (block, loops)

    @pytest.mark.parametrize(("block", "loops"), [("recurrent", 4), ("recurrent", 0), ("coda", 1)])
    def test_no_stop_where_the_run_does_not_go(self, block, loops):
        with pytest.raises(ValueError, match=f"no exit after loop {loops} of block '{block}'"):
            Depth.of(LATENT).stop(block, loops)

    @pytest.mark.parametrize(
        "other",
        [
            Depth.of(LATENT, 3),
            Depth.of(LATENT, 4),
            Depth.of(LATENT, [1, 2]),
            Depth.of(BICYCLE, 1),
            Depth.of(standard(4)),
        ],
    )
    def test_no_exit_to_what_the_run_does_not_pass(self, other):
        with pytest.raises(ValueError, match="is not an exit of"):
            Depth.of(LATENT).exit(other)

    def test_an_exit_leaves_one_block_early_and_no_other(self):
        with pytest.raises(ValueError, match="is not an exit of"):
            Depth.of(BICYCLE).exit(Depth.of(BICYCLE, {"phonetic": 1, "linguistic": 1}))
