"""Figures, drawn without a display and returned as PNG bytes."""

import io

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito
_STYLES = {"greedy": ("-", "o"), "ngram": ("--", "s"), "joint": ("-.", "D")}


def loops_label(loops: int | dict[str, int]) -> str:
    """Loop counts as they stand in tables, on axes and as keys of JSON objects.

    Arguments
    ---------
    loops : int or dict of str to int
        One count, or one by block.

    Returns
    -------
    str

    Example
    -------
    >>> loops_label(5), loops_label({"phonetic": 2, "linguistic": 3})
    ('5', 'phonetic 2, linguistic 3')
    """
    if isinstance(loops, dict):
        return ", ".join(f"{block} {count}" for block, count in loops.items())
    return str(loops)


def wer_vs_loops(rows: list[dict], title: str) -> bytes:
    """Error rate against loop count, a line per split and decoder with its confidence band.

    A filled marker is an exit that had a loss in training, a hollow one an exit that had none; a
    vertical line marks the loop count trained for.

    Arguments
    ---------
    rows : list of dict
        Rows of a report (see `speechbrain_recursive.analysis.report.result_row`), not empty. Where
        loop counts are whole numbers the axis is to scale; counts by block stand side by side.
    title : str
        Heading of the figure.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> row = {"split": "test", "loops": 1, "decoder": "greedy", "wer": 9.0, "low": 8.0,
    ...        "high": 10.0, "trained": True, "supervised": True}
    >>> wer_vs_loops([row, {**row, "loops": 2}], "WER by loops")[1:4]
    b'PNG'
    """
    metric = "cer" if "cer" in rows[0] else "wer"
    places = _places(rows)
    figure = Figure(figsize=(7.5, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    curves = {}
    for row in rows:
        curves.setdefault((row["split"], row["decoder"]), []).append(row)
    splits = list(dict.fromkeys(row["split"] for row in rows))
    handles = []
    for (split, decoder), curve in curves.items():
        color = _COLORS[splits.index(split) % len(_COLORS)]
        style, marker = _STYLES.get(decoder, (":", "^"))
        curve = sorted(curve, key=lambda row: places[loops_label(row["loops"])])
        x = [places[loops_label(row["loops"])] for row in curve]
        y, low, high = ([row[key] for row in curve] for key in (metric, "low", "high"))
        if len(curve) > 1:
            axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
        else:  # a point has no line: the joint search runs at one loop count
            style = ""
            axes.vlines(x, low, high, color=color)
        axes.plot(x, y, color=color, linestyle=style)
        for at, row in zip(x, curve, strict=True):
            face = color if row["supervised"] else "white"
            axes.plot(at, row[metric], marker, color=color, markerfacecolor=face, markersize=6)
        look = {"color": color, "linestyle": style, "marker": marker}
        handles.append(Line2D([], [], label=f"{split}, {decoder}", **look))
    dashes = {"color": "0.45", "linestyle": (0, (2, 2)), "linewidth": 1}
    trained = {loops_label(row["loops"]) for row in rows if row["trained"]}
    for label in trained:
        axes.axvline(places[label], zorder=0, **dashes)
    if trained:
        handles.append(Line2D([], [], label="trained loop count", **dashes))
    if not all(row["supervised"] for row in rows):
        hollow = {"color": "0.45", "marker": "o", "linestyle": "", "markerfacecolor": "white"}
        handles.append(Line2D([], [], label="exit without a loss", **hollow))
    axes.set_xticks(list(places.values()), [label.replace(", ", "\n") for label in places])
    axes.set_xlabel("loops by block" if any(isinstance(row["loops"], dict) for row in rows) else "loops")
    axes.set_ylabel(f"{metric.upper()} (%), band: 95% interval")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=11, loc="left")
    figure.legend(handles=handles, loc="outside right upper", frameon=False, handlelength=3.2)
    return _png(figure)


def similarity_map(similarity, labels: list[str], title: str) -> bytes:
    """Similarity of each layer's output with each other's, as a heat map.

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
    >>> import numpy as np
    >>> similarity_map(np.eye(2), ["0", "1"], "Layers")[1:4]
    b'PNG'
    """
    size = 3.0 + 0.2 * min(len(labels), 60)
    figure = Figure(figsize=(size + 0.8, size), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(similarity, cmap="viridis", vmax=1.0, origin="lower")
    every = 1 + len(labels) // 30  # more names than that run into each other
    places = range(0, len(labels), every)
    axes.set_xticks(places, labels[::every], rotation=90, fontsize=7)
    axes.set_yticks(places, labels[::every], fontsize=7)
    axes.set_xlabel("layer")
    axes.set_ylabel("layer")
    axes.set_title(title, fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, label="cosine similarity", shrink=0.8)
    return _png(figure)


def change_by_bin(panels: dict[str, list[dict]], metric: str, title: str) -> bytes:
    """Change of the error rate in each bin of utterances, a panel for each way of binning.

    Arguments
    ---------
    panels : dict of str to list of dict
        By axis label, rows of `speechbrain_recursive.analysis.bins.compare_by_bins`.
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
    for axes, (label, rows) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        change = [row["change"] for row in rows]
        colors = [_COLORS[2] if value <= 0 else _COLORS[1] for value in change]
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
    return _png(figure)


def _png(figure: Figure) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _places(rows: list[dict]) -> dict[str, int]:
    """Where each loop count stands on the axis, from left to right."""
    counts = [row["loops"] for row in rows]
    if all(isinstance(count, int) for count in counts):
        return {loops_label(count): count for count in sorted(set(counts))}
    return {label: place for place, label in enumerate(dict.fromkeys(map(loops_label, counts)))}
