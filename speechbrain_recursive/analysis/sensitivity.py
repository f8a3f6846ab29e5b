"""Which layers a smaller model keeps: those whose removal hurts most."""

from collections.abc import Mapping
from typing import Any

from speechbrain_recursive.analysis.report import markdown_table


def keep_most_sensitive(rates: Mapping[int, float]) -> dict[str, list[int]]:
    """The layers that remain, by their number, when the least sensitive ones go first (Foldable, 4.3).

    Arguments
    ---------
    rates : mapping of int to float
        From each layer to the error rate without it. Of two equal ones, the layer nearer to the output
        goes first, which the paper does not state; our choice.

    Returns
    -------
    dict of str to list of int
        From the number of layers, the largest first, to the layers in their order.

    Example
    -------
    >>> keep_most_sensitive({0: 60.0, 1: 9.0, 2: 12.0, 3: 9.0})
    {'3': [0, 1, 2], '2': [0, 2], '1': [0]}
    """
    order = sorted(rates, key=lambda layer: (-rates[layer], layer))
    return {str(n): sorted(order[:n]) for n in range(len(order) - 1, 0, -1)}


def sensitivity_report(found: Mapping[str, Any]) -> str:
    """What :func:`speechbrain_recursive.inference.sensitivity.sensitivity` found, as Markdown.

    Arguments
    ---------
    found : mapping
        Its result.

    Returns
    -------
    str
        The error rates, the layers that models of each size keep, and the keys of a recipe that starts
        from half of the layers.
    """
    metric, whole, kept = found["metric"], found["whole"], found["kept"]

    def rate(row):
        return f"{row[metric]:.2f} [{row['low']:.2f}, {row['high']:.2f}]"

    lines = [["-", rate(whole), ""]] + [
        [layer, rate(row), f"{row[metric] - whole[metric]:+.2f}"]
        for layer, row in found["layers"].items()
    ]
    half = str((len(found["layers"]) + 1) // 2)
    return "\n\n".join(
        [
            f"# Error rates of {found['model']} without each layer",
            f"Greedy decoding of {found['split']}, schedule {found['schedule']}",
            markdown_table(["layer left out", f"{metric.upper()} % [95%]", "change"], lines),
            markdown_table(["layers", "kept"], [[n, ", ".join(map(str, of))] for n, of in kept.items()]),
            f"A model of {half} layers starts from the kept ones with",
            "```yaml\n"
            "warm_start: !new:speechbrain_recursive.nn.transfer.WarmStart\n"
            f"    path: {found['model']}\n"
            "    layers: !name:speechbrain_recursive.nn.layer_maps.kept\n"
            f"        layers: {kept[half]}\n"
            "```",
            "and in the recipes of wav2vec 2.0 and HuBERT with "
            f"`--source {found['model']} --n_layers {half}`.",
        ]
    )
