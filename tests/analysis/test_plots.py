"""The figure: what it draws, and that it leaves no state behind."""

import struct

import numpy as np
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


def test_similarity_map_has_the_first_layer_at_the_bottom_left(drawn):
    similarity = np.array([[1.0, 0.2, 0.1], [0.2, 1.0, 0.8], [0.1, 0.8, 1.0]])
    plots.similarity_map(similarity, ["0", "1/0", "1/1"], "Layers")
    axes = drawn[0].axes[0]
    (image,) = axes.images
    assert image.origin == "lower"
    assert image.get_array()[1, 2] == 0.8
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1/0", "1/1"]


def test_names_of_many_layers_do_not_run_into_each_other(drawn):
    plots.similarity_map(np.eye(120), [str(i) for i in range(120)], "Layers")
    assert len(drawn[0].axes[0].get_xticks()) <= 30


def test_change_by_bin_draws_bars_and_intervals(drawn):
    rows = [
        {"bin": "0", "utterances": 5, "change": 1.5, "low": 0.5, "high": 2.0},
        {"bin": "0-10", "utterances": 2, "change": -4.0, "low": -4.0, "high": -4.0},
    ]
    plots.change_by_bin({"WER % of A": rows, "words": rows[:1]}, "wer", "A to B")
    left, right = drawn[0].axes
    assert [bar.get_height() for bar in left.patches] == [1.5, -4.0]
    assert left.patches[0].get_facecolor() != left.patches[1].get_facecolor()
    ends = [segment[:, 1].tolist() for segment in left.collections[0].get_segments()]
    assert ends == [[0.5, 2.0], [-4.0, -4.0]]
    assert [text.get_text() for text in left.get_xticklabels()] == ["0\nn=5", "0-10\nn=2"]
    assert (left.get_xlabel(), right.get_xlabel()) == ("WER % of A", "words")
    assert len(right.patches) == 1
