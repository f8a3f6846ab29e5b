"""Plots, drawn without a display and returned as PNG images."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_STYLES = (("-", "o"), ("--", "s"), ("-.", "D"), (":", "^"))  # of lines and markers, by decoder


def depth_axis(rows: list[dict]) -> str:
    """What the rows of a report are plotted against.

    Arguments
    ---------
    rows : list of dict
        From :func:`speechbrain_recursive.analysis.report.result_row`.

    Returns
    -------
    str
        ``"loops"`` if all rows have one loop count, else ``"depth"``.
    """
    return "loops" if all("loops" in row for row in rows) else "depth"


def error_vs_depth(rows: list[dict], title: str) -> bytes:
    """Plot error rates against loop count or depth, with a line per split and decoder.

    The band around a line is the 95% interval. Filled markers are depths that had a loss in training,
    hollow ones had none; a vertical line marks the trained depth. Of several rows with the same x, the
    line goes through the first, and the others are points with their intervals.

    Arguments
    ---------
    rows : list of dict
        Rows of a report (see :func:`speechbrain_recursive.analysis.report.result_row`), not empty.
    title : str
        Heading of the figure.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> row = {"split": "test", "label": "1", "loops": 1, "decoder": "greedy", "wer": 9.0, "low": 8.0,
    ...        "high": 10.0, "trained": True, "supervised": True}
    >>> error_vs_depth([row, {**row, "label": "2", "loops": 2}], "WER by loops")[1:4]
    b'PNG'
    """
    metric = "cer" if "cer" in rows[0] else "wer"
    axis = depth_axis(rows)
    places = {row["label"]: row.get(axis) for row in rows}
    figure = Figure(figsize=(7.5, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    if None in places.values():  # some rows have loops and others depth: no common scale
        places = {label: place for place, label in enumerate(places)}
        axes.set_xticks(range(len(places)), places)
    else:
        axes.set_xticks(sorted(set(places.values())))
    curves = {}
    for row in rows:
        curves.setdefault((row["split"], row["decoder"]), []).append(row)
    splits, decoders = (list(dict.fromkeys(names)) for names in zip(*curves, strict=True))
    handles = []
    for (split, decoder), points in curves.items():
        color = COLORS[splits.index(split) % len(COLORS)]
        style, marker = _STYLES[decoders.index(decoder) % len(_STYLES)]
        line = {places[row["label"]]: row for row in reversed(points)}
        x = sorted(line)
        if len(x) > 1:
            y, low, high = ([line[at][key] for at in x] for key in (metric, "low", "high"))
            axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
            axes.plot(x, y, color=color, linestyle=style)
        else:
            style = ""
        for row in points:
            at, face = places[row["label"]], color if row["supervised"] else "white"
            if len(x) == 1 or row is not line[at]:
                axes.vlines(at, row["low"], row["high"], color=color)
            axes.plot(at, row[metric], marker, color=color, markerfacecolor=face, markersize=6)
        look = {"color": color, "linestyle": style, "marker": marker}
        handles.append(Line2D([], [], label=f"{split}, {decoder}", **look))
    dashes = {"color": "0.45", "linestyle": (0, (2, 2)), "linewidth": 1}
    trained = {places[row["label"]] for row in rows if row["trained"]}
    for at in trained:
        axes.axvline(at, zorder=0, **dashes)
    if trained:
        handles.append(Line2D([], [], label="trained depth", **dashes))
    if not all(row["supervised"] for row in rows):
        hollow = {"color": "0.45", "marker": "o", "linestyle": "", "markerfacecolor": "white"}
        handles.append(Line2D([], [], label="depth without a loss", **hollow))
    axes.set_xlabel(axis)
    axes.set_ylabel(f"{metric.upper()} (%), band: 95% interval")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=11, loc="left")
    figure.legend(handles=handles, loc="outside right upper", frameon=False, handlelength=3.2)
    return png(figure)


def similarity_map(similarity: np.ndarray, labels: list[str], title: str) -> bytes:
    """Plot the similarity of the outputs of every two layers as a heat map.

    Arguments
    ---------
    similarity : numpy.ndarray
        [N, N], at most 1.
    labels : list of str
        Names of the N layers.
    title : str
        Heading of the figure.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> similarity_map(np.eye(2), ["0", "1"], "Layers")[1:4]
    b'PNG'
    """
    size = 3.0 + 0.2 * min(len(labels), 60)
    figure = Figure(figsize=(size + 0.8, size), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(similarity, cmap="viridis", vmax=1.0, origin="lower")
    every = 1 + len(labels) // 30  # more labels would overlap
    places = range(0, len(labels), every)
    axes.set_xticks(places, labels[::every], rotation=90, fontsize=7)
    axes.set_yticks(places, labels[::every], fontsize=7)
    axes.set_xlabel("layer")
    axes.set_ylabel("layer")
    axes.set_title(title, fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, label="cosine similarity", shrink=0.8)
    return png(figure)


def accuracy_by_step(models: dict[str, list[dict]], title: str) -> bytes:
    """Plot accuracies against the logical step, with a line per model and a band of its interval.

    Arguments
    ---------
    models : dict of str to list of dict
        By name, ``accuracy``, ``low`` and ``high`` in percent after each step.
    title : str
        Heading of the figure.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> steps = [{"accuracy": 40.0, "low": 38.0, "high": 42.0}] * 3
    >>> accuracy_by_step({"teacher": steps}, "Phonemes")[1:4]
    b'PNG'
    """
    figure = Figure(figsize=(7.5, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, steps) in enumerate(models.items()):
        color, (style, marker) = COLORS[index % len(COLORS)], _STYLES[index % len(_STYLES)]
        x = range(1, len(steps) + 1)
        y, low, high = ([step[key] for step in steps] for key in ("accuracy", "low", "high"))
        axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
        axes.plot(x, y, marker, color=color, linestyle=style, markersize=4, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("logical step")
    axes.set_ylabel("accuracy (%), band: 95% interval")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10, loc="left")
    figure.legend(loc="outside right center", frameon=False, handlelength=3.2)
    return png(figure)


def change_by_bin(panels: dict[str, list[dict]], metric: str, title: str) -> bytes:
    """Plot the change of the error rate by bins of utterances, with a panel per way of binning.

    Arguments
    ---------
    panels : dict of str to list of dict
        By axis label, rows of :func:`speechbrain_recursive.analysis.bins.compare_by_bins`.
    metric : str
        ``"wer"`` or ``"cer"``.
    title : str
        Heading of the figure.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> row = {"bin": "1-5", "utterances": 3, "change": -2.0, "low": -4.0, "high": 0.5}
    >>> change_by_bin({"words": [row]}, "wer", "A to B")[1:4]
    b'PNG'
    """
    figure = Figure(figsize=(5.0 * len(panels), 4.2), dpi=150, layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, rows) in zip(grid, panels.items(), strict=True):
        change = [row["change"] for row in rows]
        colors = [COLORS[2] if value <= 0 else COLORS[1] for value in change]
        axes.bar(range(len(rows)), change, color=colors, width=0.7)
        ends = [row["low"] for row in rows], [row["high"] for row in rows]
        axes.vlines(range(len(rows)), *ends, color="0.3")
        names = [f"{row['bin']}\nn={row['utterances']}" for row in rows]
        axes.set_xticks(range(len(rows)), names, fontsize=8)
        axes.axhline(0, color="0.2", linewidth=0.8)
        axes.set_xlabel(label)
        axes.set_ylabel(f"change of {metric.upper()} (points), line: 95% interval")
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return png(figure)


def png(figure: Figure) -> bytes:
    """The PNG image of a figure."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
