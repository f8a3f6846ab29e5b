"""Which depths a server offers, and the error rates that it shows for them."""

import json

import pytest

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import bicycle, latent, sequence, unfold
from speechbrain_recursive.serving.depths import Depths, error_rates


@pytest.mark.parametrize(
    ("schedule", "deepest", "axis", "values", "trained"),
    [
        (latent(2, 3, 1, 1), 20, "loops", (1, 2, 3, 4, 5, 6, 7, 8, 9), 3),
        (latent(2, 3, 1, 1), 9, "loops", (1, 2, 3), 3),
        (sequence(2, 2), None, "depth", (2, 3, 4, 5, 6, 7, 8), 4),
        (unfold(4, 6, unfoldable=[2, 3]), None, "depth", (4, 5, 6, 7, 8, 9, 10), 6),
        (bicycle(3, 3, 1, 3), None, "depth", (6, 8, 10, 12, 14, 16, 18), 10),
    ],
)
def test_depths_of_a_schedule(schedule, deepest, axis, values, trained):
    found = Depths.of(schedule, deepest)
    assert found[:3] == (axis, values, trained)
    for value in values:
        if axis == "loops":
            found.check(Depth.of(schedule, value))
        else:
            found.check(Depth(schedule.with_depth(value)))
    with pytest.raises(UserError, match=f"at most {axis} {values[-1]}"):
        found.check(Depth.of(schedule, 100))


def test_less_than_the_trained_depth_is_refused():
    with pytest.raises(UserError, match="--max_depth 7: the model was trained for 8"):
        Depths.of(latent(2, 3, 1, 1), 7)


def test_error_rates_of_a_report(tmp_path):
    assert error_rates(tmp_path, "loops") is None
    rows = [
        {"decoder": "greedy", "loops": loops, "wer": wer}
        for loops, wer in ((1, 30.0), (2, 10.0), (2, 20.0), (3, None))
    ]
    rows.append({"decoder": "joint", "depth": 8, "wer": 1.0})
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"results": rows, "synthetic": True}))
    assert error_rates(tmp_path, "loops") == {
        "metric": "wer",
        "synthetic": True,
        "rates": {"greedy": {"1": 30.0, "2": 15.0}},
    }
    path.write_text('{"results": [3]}')
    with pytest.raises(UserError, match=r"report.json is no report"):
        error_rates(tmp_path, "loops")
