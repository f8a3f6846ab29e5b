"""Linear probes: how well the phoneme of a frame can be read from the frame's state alone.

Shim, Choi and Sung ("Understanding the role of self attention for efficient speech recognition", ICLR
2022) classify phonemes from the outputs of each layer of an encoder, and Figure 3 of BiCycle does so
along the logical steps. BiCycle's paper does not state how the classifier is trained; our choice is
multinomial logistic regression, whose solution is unique.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.analysis.wer import bootstrap_interval


@dataclass(frozen=True)
class Probe:
    """A linear classifier of states.

    Arguments
    ---------
    weight : torch.Tensor
        [C, d].
    bias : torch.Tensor
        [C].
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """The most probable of C classes (LongTensor [F]) of states [F, d]."""
        return (states @ self.weight.T + self.bias).argmax(-1)


def fit_probe(
    states: torch.Tensor, classes: torch.Tensor, n_classes: int, penalty: float = 1.0, steps: int = 200
) -> Probe:
    """Fit multinomial logistic regression by L-BFGS.

    States are standardized. The cross entropy, summed over frames, is minimized together with half the
    squared weights times ``penalty``; the bias has none. Nothing is drawn: it starts from zero.

    Arguments
    ---------
    states : torch.Tensor
        [F, d].
    classes : torch.LongTensor
        [F], below ``n_classes``.
    n_classes : int
        C.
    penalty : float
        Above 0; scikit-learn calls its inverse C, with the same default.
    steps : int
        Maximum number of steps.

    Returns
    -------
    Probe
        For states that are not standardized.

    Example
    -------
    >>> probe = fit_probe(torch.tensor([[0.0], [1.0], [4.0], [5.0]]), torch.tensor([0, 0, 1, 1]), 2)
    >>> probe(torch.tensor([[2.0], [3.0]])).tolist()
    [0, 1]
    """
    mean, deviation = states.mean(0), states.std(0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    x = (states - mean) / deviation
    weight = x.new_zeros(n_classes, x.shape[1], requires_grad=True)
    bias = x.new_zeros(n_classes, requires_grad=True)
    precision = {"tolerance_grad": 1e-6, "tolerance_change": 1e-9}
    solver = torch.optim.LBFGS([weight, bias], 1, steps, line_search_fn="strong_wolfe", **precision)

    def loss():
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight.T + bias, classes)
        value = value + penalty / (2 * len(x)) * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    weight, bias = weight.detach() / deviation, bias.detach()
    return Probe(weight, bias - weight @ mean)


def frames_read(
    states: Sequence[torch.Tensor],
    classes: Sequence[torch.Tensor],
    speakers: Sequence[str],
    n_classes: int,
) -> list[int]:
    """Count the frames whose class is read by a probe that was trained on other speakers.

    The first, third, ... speaker make up one half, the others the other half. A probe is trained on each
    half and tested on the other one.

    Arguments
    ---------
    states : sequence of torch.Tensor
        [F, d] for each utterance.
    classes : sequence of torch.LongTensor
        [F] for each utterance, below ``n_classes``.
    speakers : sequence of str
        Of each utterance.
    n_classes : int
        How many classes there are.

    Returns
    -------
    list of int
        Right frames of each utterance.

    Raises
    ------
    ValueError
        If one half has no frames, as where there is only one speaker.
    """
    order = list(dict.fromkeys(speakers))
    halves = [order.index(speaker) % 2 for speaker in speakers]
    probes = []
    for half in range(2):
        others = [index for index, own in enumerate(halves) if own != half]
        if not any(len(classes[index]) for index in others):
            raise ValueError("every second speaker trains a probe for the others, and one half is empty")
        x, y = (torch.cat([each[index] for index in others]) for each in (states, classes))
        probes.append(fit_probe(x, y, n_classes))
    utterances = zip(states, classes, halves, strict=True)
    return [int((probes[half](x) == y).sum()) for x, y, half in utterances]


def accuracy(right: Sequence[int], frames: Sequence[int]) -> dict[str, float]:
    """Accuracy in percent, with its 95% interval by resampling whole utterances.

    Arguments
    ---------
    right, frames : sequence of int
        Right frames and all frames of each utterance.

    Returns
    -------
    dict
        ``accuracy``, ``low`` and ``high``.

    Example
    -------
    >>> accuracy([1, 2], [2, 4])
    {'accuracy': 50.0, 'low': 50.0, 'high': 50.0}
    """
    low, high = bootstrap_interval(right, frames)
    return {"accuracy": 100.0 * sum(right) / sum(frames), "low": low, "high": high}


def probe_table(models: dict[str, list[dict]]) -> str:
    """Format accuracies by logical step as a Markdown table.

    Arguments
    ---------
    models : dict of str to list of dict
        By name, one dict per logical step: ``layer`` (str), ``accuracy``, ``low`` and ``high``.

    Returns
    -------
    str

    Example
    -------
    >>> print(probe_table({"teacher": [{"layer": "0", "accuracy": 50.0, "low": 48.0, "high": 53.0}]}))
    | step |             teacher |
    | ---- | ------------------- |
    | 1    | 0: 50.0 (48.0-53.0) |
    """
    lines = []
    for index in range(max(map(len, models.values()))):
        cells = [_cell(steps[index]) if index < len(steps) else "" for steps in models.values()]
        lines.append([str(index + 1), *cells])
    return markdown_table(["step", *models], lines)


def _cell(step):
    return f"{step['layer']}: {step['accuracy']:.1f} ({step['low']:.1f}-{step['high']:.1f})"
