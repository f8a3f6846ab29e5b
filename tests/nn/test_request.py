"""Requests are merged, and name what is wanted only once."""

import pytest
import torch

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request, Run
from speechbrain_recursive.nn.schedule import cycle, latent
from speechbrain_recursive.nn.state import State

SCHEDULE = latent(1, 4, 1, 1)
ONE, TWO, FOUR = (Depth.of(SCHEDULE, loops) for loops in (1, 2, 4))


def test_heads_and_taps_are_sets():
    request = Request(heads=["ctc", "ctc"], taps=[3, 1, 3])
    assert request.heads == {"ctc"}
    assert request.taps == {1, 3}
    assert request == Request(heads={"ctc"}, taps=(1, 3))


def test_nothing_is_asked_for_by_default():
    assert Request() == Request((), (), {}, {}, {}, ())
    assert Request() | Request() == Request()


def test_merging_keeps_what_either_wants():
    ours = Request(
        heads=["ctc"],
        taps=[1],
        attention=[0, 1],
        exits={ONE: Request(["ctc"]), TWO: Request(["ctc"])},
        runs={"short": Run(ONE, Request(["ctc"], taps=[0]))},
        teachers={"big": Request(taps=[5])},
    )
    theirs = Request(
        heads=["seq2seq"],
        taps=[2],
        attention=[3, 1],
        exits={TWO: Request(["seq2seq"]), FOUR: Request()},
        runs={"short": Run(ONE, Request(taps=[2])), "long": Run(FOUR, Request())},
        teachers={"big": Request(["ctc"]), "bert": Request()},
    )
    both = Request(
        heads=["ctc", "seq2seq"],
        taps=[1, 2],
        attention=[0, 1, 3],
        exits={ONE: Request(["ctc"]), TWO: Request(["ctc", "seq2seq"]), FOUR: Request()},
        runs={
            "short": Run(ONE, Request(["ctc"], taps=[0, 2])),
            "long": Run(FOUR, Request()),
        },
        teachers={"big": Request(["ctc"], taps=[5]), "bert": Request()},
    )
    assert ours | theirs == both
    assert theirs | ours == both
    assert ours | ours == ours
    assert ours.heads == {"ctc"}, "neither is changed"


def test_exits_of_equal_depths_are_one():
    merged = Request(exits={Depth.of(SCHEDULE, 2): Request(["ctc"])}) | Request(
        exits={Depth.of(SCHEDULE, {"recurrent": 2}): Request(["seq2seq"])}
    )
    assert merged.exits == {TWO: Request(["ctc", "seq2seq"])}


def test_one_name_for_two_depths_is_refused():
    with pytest.raises(
        ValueError, match=r"one run is to be both 0 \| \(1\)x1 \| 2 and 0 \| \(1\)x2 \| 2"
    ):
        Request(runs={"a": Run(ONE, Request())}) | Request(runs={"a": Run(TWO, Request())})


def test_requests_are_frozen():
    with pytest.raises(AttributeError):
        Request().heads = ()


def test_outputs_by_their_usual_names():
    encoder = State(torch.rand(2, 5, 4), pad=torch.arange(5) >= torch.tensor([5, 3])[:, None])
    pooled = encoder.resize(torch.rand(2, 2, 4), torch.tensor([2, 1]))
    heads = {"ctc": torch.rand(2, 5, 9)}
    outputs = Outputs({"encoder": encoder, "pool": pooled}, FOUR, heads)
    assert outputs.encoded is encoder.x
    assert outputs.frames.tolist() == [5, 3]
    assert outputs.state is pooled
    assert outputs.log_probs is heads["ctc"]
    assert outputs.decoded is None
    assert Outputs({}, FOUR, {"seq2seq": 1}).decoded == 1


class TestNested:
    """What a model would not compute is refused, not left out."""

    DEPTH = Depth(cycle(2, 3))

    @pytest.mark.parametrize(
        "inner", [Request(taps=[1]), Request(teachers={"t": Request()}), Request(attention=[1])], ids=str
    )
    def test_an_exit_gives_heads_alone(self, inner):
        with pytest.raises(ValueError, match="an exit is asked for heads alone"):
            Request(exits={self.DEPTH: inner})

    def test_a_run_has_no_runs_or_teachers(self):
        Request(runs={"seed": Run(self.DEPTH, Request(heads=["ctc"], taps=[1]))})
        inner = Request(teachers={"t": Request()})
        with pytest.raises(ValueError, match="no runs or teachers of its own"):
            Request(runs={"seed": Run(self.DEPTH, inner)})
