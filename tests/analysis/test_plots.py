"""What the figures show."""

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


def make_row(loops, decoder="greedy", split="test", trained=False, supervised=True, label=None):
    value = 20.0 - loops
    return {
        "split": split,
        "label": str(loops) if label is None else label,
        "loops": loops,
        "decoder": decoder,
        "wer": value,
        "low": value - 1,
        "high": value + 2,
        "rtf": 0.1,
        "trained": trained,
        "supervised": supervised,
    }


def make_depth_row(depth, label, wer, **flags):
    row = make_row(0, label=label, **flags)
    del row["loops"], row["wer"]
    return row | {"depth": depth, "cer": wer, "low": wer - 1, "high": wer + 2}


def is_point(line):
    return line.get_marker() == "o"


def test_line_and_band_per_split_and_decoder(drawn):
    rows = [
        make_row(loops, decoder, split, trained=loops == 4, supervised=loops == 4)
        for split in ("dev", "test")
        for loops in (8, 1, 4)
        for decoder in ("greedy", "ngram")
    ]
    rows.append(make_row(4, "joint"))
    assert plots.depth_axis(rows) == "loops"
    image = plots.error_vs_depth(rows, "WER")
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
        "trained depth",
        "depth without a loss",
    ]
    assert axes.get_xlabel() == "loops"
    assert axes.get_ylabel().startswith("WER (%)")


def test_several_labels_of_one_depth_are_several_points(drawn):
    rows = [
        make_depth_row(6, "6", 20.0),
        make_depth_row(8, "8 (layer0 x2, layer1 x2)", 16.0),
        make_depth_row(8, "8 (layer4 x2, layer5 x2)", 15.0, trained=True),
        make_depth_row(12, "12 (layer0 x2, layer1 x2)", 13.0),
    ]
    assert plots.depth_axis(rows) == "depth"
    plots.error_vs_depth(rows, "CER")
    axes = drawn[0].axes[0]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if is_point(line)]
    assert points == [(6, 20.0), (8, 16.0), (8, 15.0), (12, 13.0)]
    (line,) = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert list(line.get_ydata()) == [20.0, 16.0, 13.0]  # through the first of the two
    _band, other = axes.collections
    assert other.get_segments()[0].tolist() == [[8, 14.0], [8, 17.0]]  # the other's interval
    assert list(axes.get_xticks()) == [6, 8, 12]  # to scale
    assert axes.get_xlabel() == "depth"
    assert axes.get_ylabel().startswith("CER")


def test_rows_without_a_common_scale_stand_side_by_side(drawn):
    plots.error_vs_depth([make_row(3), make_depth_row(12, "12", 10.0) | {"wer": 10.0}], "WER")
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["3", "12"]
    assert list(axes.get_xticks()) == [0, 1]


def test_any_decoder_has_a_look_of_its_own(drawn):
    names = ("cif", "greedy", "rescored", "viterbi")
    plots.error_vs_depth([make_row(n, name) for name in names for n in (1, 2)], "WER")
    handles = drawn[0].legends[0].legend_handles[: len(names)]
    assert len({handle.get_linestyle() for handle in handles}) == len(names)
    points = [line.get_marker() for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 1]
    assert len(set(points)) == len(names)


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


def test_accuracy_by_step_has_a_line_and_a_band_per_model(drawn):
    steps = [{"accuracy": 40.0 + i, "low": 38.0, "high": 60.0} for i in range(20)]
    plots.accuracy_by_step({"teacher": steps[:3], "cycle": steps}, "Phonemes")
    axes = drawn[0].axes[0]
    short, long = axes.lines
    assert list(short.get_xdata()) == [1, 2, 3]
    assert list(short.get_ydata()) == [40.0, 41.0, 42.0]
    assert list(long.get_xdata()) == [*range(1, 21)]
    assert short.get_color() != long.get_color()
    assert len(axes.collections) == 2
    band = axes.collections[0].get_paths()[0].get_extents()
    assert (band.xmin, band.xmax, band.ymin, band.ymax) == (1, 3, 38.0, 60.0)
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["teacher", "cycle"]
    assert all(tick == int(tick) for tick in axes.get_xticks())
