"""Long recordings are divided at pauses, and overlap where there is none."""

from itertools import pairwise

import numpy as np
import pytest

from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.inference.windows import windows

RATE = 1000
TRAINED = Durations(1.0, 2.0, 4.0)


def speech(*seconds):
    """Noise, with silence where the seconds are below 0."""
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(round(abs(s) * RATE)) * (s > 0) for s in seconds]
    return np.concatenate(parts).astype(np.float32)


def split(signal, block):
    return np.split(signal, range(block, len(signal), block))


def divide(signal, block=700):
    return [*windows(split(signal, block), RATE, TRAINED)]


@pytest.mark.parametrize("seconds", [0.001, 4.0, 6.0])
def test_what_is_not_much_longer_than_in_training_is_whole(seconds):
    (window,) = divide(speech(seconds))
    assert np.array_equal(window.signal, speech(seconds))
    assert (window.start, window.begin) == (0, 0)


def test_nothing_has_no_window():
    assert divide(np.zeros(0)) == []


def test_pauses_divide():
    found = divide(speech(1.5, -0.3, 2.0, -0.06, 0.8, -0.3, 2.5, -0.3, 1.8, -0.3, 2.0))
    borders = [1.65, 4.81, 7.61, 9.71]
    assert [window.start for window in found] == [0, *map(pytest.approx, borders)]
    assert all(window.start == window.begin for window in found)


def test_windows_overlap_where_nothing_is_quiet():
    signal = speech(17)
    found = divide(signal)
    assert len(found) > 4
    for one, other in pairwise(found):
        end = one.start + len(one.signal) / RATE
        assert (other.start + end) / 2 == pytest.approx(other.begin)
        assert end - other.start == pytest.approx(1.0)
    for window in found:
        assert 1000 <= len(window.signal) <= 4000
        first = round(window.start * RATE)
        assert np.array_equal(window.signal, signal[first : first + len(window.signal)])
    assert first + len(window.signal) == len(signal)


def test_blocks_do_not_matter():
    signal = speech(3, -0.4, 5, 4, -0.2, 3, 6)
    for one, other in zip(divide(signal, 50), divide(signal, 10**6), strict=True):
        assert np.array_equal(one.signal, other.signal)
        assert one[1:] == other[1:]


def test_little_of_a_recording_is_held():
    read = 0

    def source():
        nonlocal read
        for block in split(speech(60), 500):
            read += len(block)
            yield block

    for window in windows(source(), RATE, TRAINED):
        assert read - window.start * RATE <= 6000 + 500


def test_durations_come_from_the_report_or_the_manifests(tmp_path):
    assert Durations.of_run(tmp_path, ["a"]) == Durations()
    (tmp_path / "manifests").mkdir()
    rows = "ID,duration,wav,spk_id,wrd\nu1,2.5,a,s,A\nu2,1.5,a,s,A\nu3,9,a,s,A\n"
    (tmp_path / "manifests/a.csv").write_text(rows)
    assert Durations.of_run(tmp_path, ["a"]) == Durations(1.5, 2.5, 9.0)
    report = '{"utterance_seconds": {"shortest": 1, "typical": 2, "longest": 3}}'
    (tmp_path / "report.json").write_text(report)
    assert Durations.of_run(tmp_path, ["a"]) == Durations(1, 2, 3)
