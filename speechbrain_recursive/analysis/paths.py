"""Error rates of the paths to each logical depth, as a table and as a plot."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechbrain_recursive.analysis.plots import COLORS, png
from speechbrain_recursive.analysis.report import markdown_table


def paths_table(models: Mapping[str, dict], alone: Mapping[str, dict], seeds: bool = False) -> str:
    """Format the paths of several models as a Markdown table.

    Arguments
    ---------
    models : mapping of str to dict
        By name, what :func:`speechbrain_recursive.inference.paths.measure_paths` returns.
    alone : mapping of str to dict
        By name, what :func:`speechbrain_recursive.inference.paths.measure_alone` returns: models that
        were trained for one depth.
    seeds : bool
        Whether these are means over seeds, with the lowest and the highest in place of an interval.

    Returns
    -------
    str

    Example
    -------
    >>> path = {"label": "3 (layer0 x2)", "wer": 12.0, "low": 11.0, "high": 13.0}
    >>> depth = {"depth": 3, "legal": 2, "mean": 12.5, "std": 0.5, "min": 12.0, "max": 13.0,
    ...          "median": path, "paths": [path, path]}
    >>> print(paths_table({"a": {"metric": "wer", "depths": [depth]}}, {}).splitlines()[2])
    | a     |     3 |     2 | 12.50 |      0.50 | 12.00 | 13.00 | 12.00 [11.00, 13.00] | 3 (layer0 x2) |
    """
    metric = next(iter(models.values()))["metric"].upper()
    heads = ["model", "depth", "paths", "mean", "deviation", "min", "max"]
    lines = []
    for name, model in models.items():
        for each in model["depths"]:
            measured, median = len(each["paths"]), each["median"]
            count = str(measured) if measured == each["legal"] else f"{measured} of {each['legal']}"
            rates = [f"{each[key]:.2f}" for key in ("mean", "std", "min", "max")]
            lines.append([name, str(each["depth"]), count, *rates, _rate(median), median["label"]])
    for name, each in alone.items():
        lines.append([name, str(each["depth"]), "-", *["-"] * 4, _rate(each), "trained for this depth"])
    interval = "lowest, highest" if seeds else "95%"
    return markdown_table([*heads, f"median {metric} % [{interval}]", "median path"], lines)


def error_by_path(models: Mapping[str, dict], alone: Mapping[str, dict], title: str) -> bytes:
    """Plot error rates against logical depth, with a line per model.

    A line is the mean over the paths to each depth, its band is one standard deviation to both sides. A
    filled marker is the model without any repeated layer. Squares are models that were trained for one
    depth.

    Arguments
    ---------
    models, alone : mapping of str to dict
        As in :func:`paths_table`.
    title : str
        Heading of the figure.

    Returns
    -------
    bytes
        A PNG image.
    """
    metric = next(iter(models.values()))["metric"].upper()
    figure = Figure(figsize=(7.5, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, model) in enumerate(models.items()):
        color, depths = COLORS[index % len(COLORS)], sorted(model["depths"], key=lambda d: d["depth"])
        x, y, std = ([each[key] for each in depths] for key in ("depth", "mean", "std"))
        ends = ([a + sign * b for a, b in zip(y, std, strict=True)] for sign in (-1, 1))
        axes.fill_between(x, *ends, color=color, alpha=0.2, linewidth=0)
        style = ("o-", "o--", "o:")[index // len(COLORS) % 3]
        axes.plot(x, y, style, color=color, markerfacecolor="white", label=name)
        plain = [at for at in zip(x, y, strict=True) if at[0] == model["layers"]]
        axes.plot(*zip(*plain, strict=True), "o", color=color) if plain else None
    if alone:
        each = sorted(alone.values(), key=lambda one: one["depth"])
        x, y = [one["depth"] for one in each], [one["wer"] for one in each]
        axes.plot(x, y, "s", color="0.2", label="trained for one depth")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("logical depth")
    axes.set_ylabel(f"{metric} (%), band: standard deviation over paths")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10, loc="left")
    figure.legend(loc="outside right upper", frameon=False, handlelength=3.2)
    return png(figure)


def _rate(row):
    return f"{row['wer']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
