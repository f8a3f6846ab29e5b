"""Plots of layers along logical steps, with a panel per model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from speechbrain_recursive.analysis.components import Components
from speechbrain_recursive.analysis.plots import COLORS, png

_GROUPS = {"phonetic": COLORS[4], "obscure": COLORS[5], "linguistic": COLORS[2]}


def diagonality_by_step(
    models: Mapping[str, np.ndarray],
    title: str,
    passes: Mapping[str, Sequence[int]] | None = None,
    groups: Mapping[str, int] | None = None,
) -> bytes:
    """Plot the attention diagonality (CAD) of each head, and the mean over heads, by logical step.

    Arguments
    ---------
    models : mapping of str to numpy.ndarray
        By name, the CAD of each step and head [N, heads].
    title : str
        Heading of the figure.
    passes : mapping of str to sequence of int, optional
        By name of a model, the steps, counted from 0, that begin another pass of a recurrent block: a
        dashed line before each.
    groups : mapping of str to int, optional
        By name of a model, the layers of its phonetic group, p. The background shows the groups: layer
        p + 1 is the obscure one, and those above it are the linguistic group.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> diagonality_by_step({"teacher": np.ones((8, 4))}, "CAD", groups={"teacher": 3})[1:4]
    b'PNG'
    """
    figure = Figure(figsize=(1.2 + 3.6 * len(models), 3.8), dpi=150, layout="constrained")
    grid = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    handles = [
        Line2D([], [], color=COLORS[0], marker="o", markersize=4, label="mean over heads"),
        Line2D([], [], color="0.6", marker="o", markersize=3, linestyle="", label="head"),
    ]
    if passes and any(passes.values()):
        handles.append(Line2D([], [], color="0.45", linestyle=(0, (2, 2)), label="another pass"))
    for axes, (name, cad) in zip(grid, models.items(), strict=True):
        steps = np.arange(1, len(cad) + 1)
        for begin in (passes or {}).get(name, ()):
            axes.axvline(begin + 0.5, color="0.45", linestyle=(0, (2, 2)), linewidth=0.8, zorder=0)
        if name in (groups or {}):
            p = groups[name]
            edges = (0.5, p + 0.5, p + 1.5, len(cad) + 0.5)
            for begin, end, (label, color) in zip(edges, edges[1:], _GROUPS.items(), strict=False):
                span = axes.axvspan(begin, end, color=color, alpha=0.15, linewidth=0, label=label)
                handles.append(span)
        axes.plot(np.repeat(steps, cad.shape[1]), cad.flatten(), "o", color="0.6", markersize=3)
        axes.plot(steps, cad.mean(1), "o-", color=COLORS[0], markersize=4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.5, len(cad) + 0.5)
        axes.set_xlabel("logical step")
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(name, fontsize=9, loc="left")
    grid[0].set_ylabel("CAD")
    figure.suptitle(title, fontsize=10)
    columns = min(len(handles), 3 * len(models))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return png(figure)


def error_without_layers(found: Mapping[str, Any]) -> bytes:
    """Plot the error rates of a model with each of its layers left out, and its own.

    Arguments
    ---------
    found : mapping
        From :func:`speechbrain_recursive.inference.sensitivity.sensitivity`.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> row = {"wer": 9.0, "low": 8.0, "high": 10.0}
    >>> layers = {"0": {**row, "wer": 40.0}, "1": row}
    >>> about = {"model": "results/mini/1234", "split": "dev-clean", "metric": "wer"}
    >>> error_without_layers({**about, "whole": row, "layers": layers})[1:4]
    b'PNG'
    """
    metric, layers = found["metric"], list(found["layers"].values())
    places = range(len(layers))
    figure = Figure(figsize=(2.4 + 0.32 * len(layers), 3.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.bar(places, [row[metric] for row in layers], color=COLORS[5], width=0.7)
    axes.vlines(places, *([row[end] for row in layers] for end in ("low", "high")), color="0.3")
    axes.axhline(found["whole"][metric], color=COLORS[1], label="all layers")
    axes.set_xticks(places, list(found["layers"]), fontsize=8)
    axes.set_xlabel("layer left out")
    axes.set_ylabel(f"{metric.upper()} (%), line: 95% interval")
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{found['model']}, {found['split']}", fontsize=9, loc="left")
    figure.legend(loc="outside lower right", frameon=False)
    return png(figure)


def states_in_space(models: Mapping[str, Components], title: str) -> bytes:
    """Plot states in three dimensions, colored by logical step, with the number of each step.

    Arguments
    ---------
    models : mapping of str to Components
        By name, see :func:`speechbrain_recursive.analysis.components.principal_components`.
    title : str
        Heading of the figure.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> from speechbrain_recursive.analysis.components import principal_components
    >>> states_in_space({"teacher": principal_components(np.random.rand(5, 8, 9))}, "States")[1:4]
    b'PNG'
    """
    figure = Figure(figsize=(0.8 + 4.4 * len(models), 4.8), dpi=150, layout="constrained")
    for index, (name, found) in enumerate(models.items(), 1):
        axes = figure.add_subplot(1, len(models), index, projection="3d")
        axes.set_box_aspect(None, zoom=0.88)  # room for the label of the third axis
        steps, means = found.points.shape[1], found.points.mean(0)
        axes.plot(*means.T, color="0.5", linewidth=0.8)
        for step, color in enumerate(colormaps["viridis"](np.linspace(0, 0.95, steps))):
            axes.scatter(*found.points[:, step].T, s=6, color=color, alpha=0.5, linewidth=0)
            ends = step in (0, steps - 1)
            size, weight = (10, "bold") if ends else (7, "normal")
            axes.text(*means[step], str(step + 1), fontsize=size, weight=weight)
        axes.set_xlabel("PC1", fontsize=8)
        axes.set_ylabel("PC2", fontsize=8)
        axes.set_zlabel("PC3", fontsize=8)
        axes.tick_params(labelsize=6, pad=0)
        axes.set_title(f"{name}: {found.explained.sum():.0%} of the variance", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return png(figure)
