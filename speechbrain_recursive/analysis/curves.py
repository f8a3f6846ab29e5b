"""The curves of a training, from its log."""

import re

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechbrain_recursive.analysis.plots import COLORS, png

NUMBER = re.compile(r"([\w ]+): (nan|inf|[-+.\de]+)")


def read_log(text: str) -> list[dict[str, float]]:
    """Read ``train_log.txt``.

    Arguments
    ---------
    text : str
        A line for each validation, as SpeechBrain's ``FileTrainLogger`` writes it.

    Returns
    -------
    list of dict
        Numbers by name, with ``step``. Of lines of one step, which a run that was resumed can have
        written twice, the last one counts.

    Example
    -------
    >>> read_log("epoch: 1, step: 20, lr: 1.60e-05 - train loss: 1.35e+02 - valid WER: 80.1")
    [{'epoch': 1.0, 'step': 20.0, 'lr': 1.6e-05, 'train loss': 135.0, 'valid WER': 80.1}]
    """
    lines = [
        {name.strip(): float(value) for name, value in NUMBER.findall(line)}
        for line in text.splitlines()
    ]
    return [*{line["step"]: line for line in lines if "step" in line}.values()]


def training_curves(text: str) -> bytes:
    """Plot losses and the dev error against optimizer steps.

    Arguments
    ---------
    text : str
        See :func:`read_log`.

    Returns
    -------
    bytes
        A PNG image.

    Example
    -------
    >>> training_curves("step: 20 - train loss: 1.35e+02 - valid loss: 9.5, valid WER: 80.1")[1:4]
    b'PNG'
    """
    lines = read_log(text)
    names = list(dict.fromkeys(name for line in lines for name in line))
    error = next((n for n in names if n.startswith("valid ") and n.endswith(("ER", "perplexity"))), None)
    figure = Figure(figsize=(7.5, 3.4), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, shown in zip(panels, (("train loss", "valid loss"), (error,)), strict=True):
        for color, name in zip(COLORS, shown, strict=False):
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, label=name, marker=".")
        axes.set_xlabel("optimizer step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_title("loss")
    panels[1].set_title("dev error")
    return png(figure)
