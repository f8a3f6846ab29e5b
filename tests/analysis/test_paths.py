"""Paths as a table and as a plot."""

import pytest
from matplotlib.figure import Figure

from speechbrain_recursive.analysis.paths import error_by_path, paths_table


def depth(number, legal, *rates):
    median = {
        "wer": sorted(rates)[(len(rates) - 1) // 2],
        "low": 0.5,
        "high": 90.0,
        "label": f"{number} (a x2)",
    }
    mean = sum(rates) / len(rates)
    std = (sum((rate - mean) ** 2 for rate in rates) / len(rates)) ** 0.5
    facts = {"depth": number, "legal": legal, "mean": mean, "std": std, "min": min(rates)}
    return {**facts, "max": max(rates), "median": median, "paths": [{}] * len(rates)}


MODELS = {
    "six": {"metric": "wer", "layers": 6, "depths": [depth(8, 15, 10.0, 14.0), depth(6, 1, 20.0)]},
    "four": {"metric": "wer", "layers": 4, "depths": [depth(6, 3, 11.0, 12.0, 16.0)]},
}
ALONE = {
    "plain_8": {"metric": "wer", "depth": 8, "wer": 13.0, "low": 12.0, "high": 14.0},
    "plain_4": {"metric": "wer", "depth": 4, "wer": 30.0, "low": 29.0, "high": 31.0},
}


def test_table():
    lines = paths_table(MODELS, ALONE).splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert head[-2:] == ["median WER % [95%]", "median path"]
    assert rows == [
        ["six", "8", "2 of 15", "12.00", "2.00", "10.00", "14.00", "10.00 [0.50, 90.00]", "8 (a x2)"],
        ["six", "6", "1", "20.00", "0.00", "20.00", "20.00", "20.00 [0.50, 90.00]", "6 (a x2)"],
        ["four", "6", "3", "13.00", "2.16", "11.00", "16.00", "12.00 [0.50, 90.00]", "6 (a x2)"],
        ["plain_8", "8", *["-"] * 5, "13.00 [12.00, 14.00]", "trained for this depth"],
        ["plain_4", "4", *["-"] * 5, "30.00 [29.00, 31.00]", "trained for this depth"],
    ]
    characters = {"a": MODELS["six"] | {"metric": "cer"}}
    assert "median CER % [95%]" in paths_table(characters, {})


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))
    )
    return figures


def test_plot(drawn):
    assert error_by_path(MODELS, ALONE, "Paths")[1:4] == b"PNG"
    (axes,) = drawn[0].axes
    lines = [
        (line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()
    ]
    six, filled, four, alone = lines
    assert six == ("six", [6, 8], [20.0, 12.0])
    assert filled[1:] == ([6], [20.0])
    assert four == ("four", [6], [13.0])
    assert alone[1:] == ([4, 8], [30.0, 13.0])
    band = axes.collections[0].get_paths()[0].vertices
    assert {(6, 20.0), (8, 10.0), (8, 14.0)} <= {(round(x, 6), round(y, 6)) for x, y in band}
