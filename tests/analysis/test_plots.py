"""The figure: what it draws, and that it leaves no state behind."""

import struct

import pytest
from matplotlib.figure import Figure

from speechbrain_recursive.analysis import plots


@pytest.fixture
def drawn(monkeypatch):
    """The figure that a call draws, caught as it is saved."""
    figures = []
    save = Figure.savefig

    def catch(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", catch)
    return figures


def make_row(loops, decoder="greedy", split="test", metric="wer", trained=False, supervised=True):
    value = 20.0 - (loops if isinstance(loops, int) else sum(loops.values()))
    return {
        "split": split,
        "loops": loops,
        "decoder": decoder,
        metric: value,
        "low": value - 1,
        "high": value + 2,
        "rtf": 0.1,
        "trained": trained,
        "supervised": supervised,
    }


def is_point(line):
    return line.get_marker() == "o"


def test_line_and_band_per_split_and_decoder(drawn):
    rows = [
        make_row(loops, decoder, split, trained=loops == 4, supervised=loops == 4)
        for split in ("dev", "test")
        for loops in (8, 1, 4)
        for decoder in ("greedy", "ngram")
    ]
    image = plots.wer_vs_loops([*rows, make_row(4, "joint")], "WER")
    width, height = struct.unpack(">II", image[16:24])
    assert width > 1000
    assert height > 600
    axes = drawn[0].axes[0]
    assert len(axes.collections) == 4 + 1  # bands, and the interval of the single joint point
    lines = [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 3]
    assert lines == [[1, 4, 8]] * 4  # in order and to scale
    faces = {line.get_xdata()[0]: line.get_markerfacecolor() for line in axes.lines if is_point(line)}
    assert faces[1] == faces[8] == "white" != faces[4]
    band = axes.collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == (11.0, 21.0)
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == [
        *(f"{split}, {decoder}" for split in ("dev", "test") for decoder in ("greedy", "ngram")),
        "test, joint",
        "trained loop count",
        "exit without a loss",
    ]
    assert axes.get_xlabel() == "loops"
    assert axes.get_ylabel().startswith("WER (%)")


def test_counts_by_block_stand_side_by_side(drawn):
    rows = [
        make_row({"phonetic": p, "linguistic": q}, metric="cer") for p, q in ((1, 1), (2, 3), (3, 2))
    ]
    plots.wer_vs_loops(rows, "CER")
    axes = drawn[0].axes[0]
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == [f"phonetic {p}\nlinguistic {q}" for p, q in ((1, 1), (2, 3), (3, 2))]
    assert axes.get_xlabel() == "loops by block"
    assert axes.get_ylabel().startswith("CER")
