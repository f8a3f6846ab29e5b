"""What the figures of layers show."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from speechbrain_recursive.analysis.components import principal_components
from speechbrain_recursive.analysis.layer_plots import diagonality_by_step, states_in_space


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, caught as they are saved."""
    figures = []
    save = Figure.savefig

    def catch(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", catch)
    return figures


def test_diagonality_has_a_panel_per_model(drawn):
    cad = np.random.default_rng(0).random((8, 3))
    models = {"teacher": cad, "cycle": cad[:6]}
    diagonality_by_step(models, "CAD", {"teacher": [], "cycle": [2, 4]}, {"teacher": 4})
    teacher, cycle = drawn[0].axes
    assert [axes.get_title(loc="left") for axes in (teacher, cycle)] == list(models)
    for axes, name in ((teacher, "teacher"), (cycle, "cycle")):
        heads, mean = axes.lines[-2:]
        assert list(mean.get_xdata()) == [*range(1, len(models[name]) + 1)]
        np.testing.assert_allclose(mean.get_ydata(), models[name].mean(1))
        by_step = np.reshape(heads.get_ydata(), models[name].shape)
        np.testing.assert_allclose(by_step, models[name])
        assert list(heads.get_xdata()) == [step for step in mean.get_xdata() for _ in range(3)]
    assert [line.get_xdata()[0] for line in cycle.lines[:-2]] == [2.5, 4.5]
    assert len(teacher.lines) == 2
    spans = [(span.get_x(), span.get_width()) for span in teacher.patches]
    assert spans == [(0.5, 4.0), (4.5, 1.0), (5.5, 3.0)]
    assert not cycle.patches
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["mean over heads", "head", "another pass", "phonetic", "obscure", "linguistic"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_legend_fits_into_the_figure(drawn, count):
    names = [f"model {i}" for i in range(count)]
    models = dict.fromkeys(names, np.random.default_rng(0).random((8, 3)))
    diagonality_by_step(models, "CAD", {names[-1]: [4]}, {names[0]: 4})
    figure = drawn[0]
    legend, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= legend.x0 < legend.x1 <= page.x1
    assert page.y0 <= legend.y0 < legend.y1 <= min(axes.bbox.y0 for axes in figure.axes)


def test_states_have_a_number_per_step(drawn):
    models = {
        name: principal_components(np.random.default_rng(steps).random((5, steps, 9)))
        for name, steps in (("teacher", 12), ("student", 4))
    }
    states_in_space(models, "States")
    for axes, (name, found) in zip(drawn[0].axes, models.items(), strict=True):
        assert axes.get_title() == f"{name}: {found.explained.sum():.0%} of the variance"
        steps = found.points.shape[1]
        assert [text.get_text() for text in axes.texts] == [str(step + 1) for step in range(steps)]
        bold = [text.get_text() for text in axes.texts if text.get_weight() == "bold"]
        assert bold == ["1", str(steps)]
        points = np.stack([cloud._offsets3d for cloud in axes.collections], axis=1)
        np.testing.assert_allclose(points.transpose(2, 1, 0), found.points)
