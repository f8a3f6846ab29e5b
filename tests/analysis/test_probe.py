"""Probes against a slow reference, and on states of which it is known what they tell."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from speechbrain_recursive.analysis.probe import accuracy, fit_probe, frames_read, probe_table
from speechbrain_recursive.analysis.wer import bootstrap_interval


def clouds(n_classes=4, frames=120, width=3, seed=0, spread=1.0):
    """Frames of Gaussian classes, in units that differ between features: states and classes."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(n_classes, (frames,), generator=generator)
    centers = torch.randn(n_classes, width, generator=generator)
    states = centers[classes] + spread * torch.randn(frames, width, generator=generator)
    return states * torch.tensor([1.0, 100.0, 0.01]) + 5.0, classes


def slow_loss(flat, states, classes, n_classes):
    """Negative log-likelihood of standardized states and half the squared weights, term by term."""
    width = states.shape[1]
    weight, bias = flat[: n_classes * width].reshape(n_classes, width), flat[n_classes * width :]
    total = 0.5 * sum(value**2 for value in weight.flatten())
    for x, y in zip(states, classes, strict=True):
        scores = [bias[c] + sum(weight[c, i] * x[i] for i in range(width)) for c in range(n_classes)]
        total += math.log(sum(math.exp(score) for score in scores)) - scores[y]
    return total


def test_against_a_slow_reference():
    states, classes = clouds(n_classes=3, frames=40)
    x = states.double().numpy()
    x = (x - x.mean(0)) / x.std(0)
    y = classes.tolist()
    best = minimize(slow_loss, np.zeros(12), args=(x, y, 3), method="BFGS", options={"gtol": 1e-6}).x
    probe = fit_probe(states.double(), classes, 3)
    scores = (states.double() @ probe.weight.T + probe.bias).softmax(-1).numpy()
    expected = x @ best[:9].reshape(3, 3).T + best[9:]
    expected = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert (probe(states.double()).numpy() == expected.argmax(1)).all()


def test_the_penalty_is_weighed_against_the_sum_over_frames():
    states, classes = clouds()
    once = fit_probe(states, classes, 4, penalty=1.0)
    twice = fit_probe(states.repeat(2, 1), classes.repeat(2), 4, penalty=2.0)
    torch.testing.assert_close(once.weight, twice.weight, rtol=1e-2, atol=1e-4)
    strong = fit_probe(states, classes, 4, penalty=1000.0)
    assert (strong.weight.abs() < once.weight.abs() / 4).all()


def test_the_same_every_time_and_inside_no_grad():
    states, classes = clouds()
    first = fit_probe(states, classes, 4)
    with torch.no_grad():
        again = fit_probe(states, classes, 4)
    assert torch.equal(first.weight, again.weight)
    assert not first.weight.requires_grad


def artificial(kind, n=40, seed=1):
    """Utterances of four speakers; class 0 is twice as frequent as the other three."""
    generator = torch.Generator().manual_seed(seed)
    states, classes, speakers = [], [], []
    for index in range(n):
        y = torch.randint(5, (20 + index,), generator=generator) % 4
        noise = torch.randn(len(y), 8, generator=generator)
        labels = torch.nn.functional.one_hot(y, 8).float()
        states.append({"labels": labels, "noise": noise, "nothing": noise * 0.0 + 3.0}[kind])
        classes.append(y)
        speakers.append(f"s{index % 4}")
    return states, classes, speakers, 4


def test_states_that_are_the_labels_are_read_in_full():
    data = artificial("labels")
    assert frames_read(*data) == [len(each) for each in data[1]]


def test_random_states_tell_no_more_than_the_most_frequent_class():
    data = artificial("noise")
    frames = [len(each) for each in data[1]]
    majority = 100.0 * sum(int((each == 0).sum()) for each in data[1]) / sum(frames)
    assert accuracy(frames_read(*data), frames)["accuracy"] == pytest.approx(majority, abs=2.0)
    nothing = frames_read(*artificial("nothing"))
    assert nothing == [int((each == 0).sum()) for each in data[1]]


def test_a_probe_never_reads_speakers_that_it_was_trained_on():
    """Half of the speakers have classes 0 and 1 the other way round: what was learned is then wrong."""
    states, classes, speakers = [], [], []
    for speaker in range(4):
        y = torch.arange(40) % 2
        states.append((y if speaker % 2 else 1 - y)[:, None].float())
        classes.append(y)
        speakers.append(str(speaker))
    assert frames_read(states, classes, speakers, 2) == [0, 0, 0, 0]
    assert frames_read(states, classes, ["0", "0", "1", "1"], 2) != [0, 0, 0, 0]  # both kinds in each


def test_classes_that_no_other_speaker_has_are_errors():
    states, classes, speakers, n = artificial("labels")
    own = [index for index, speaker in enumerate(speakers) if speaker == "s1"]
    for index in own:
        classes[index] = torch.full_like(classes[index], n)
    right = frames_read(states, classes, speakers, n + 1)
    assert [right[index] for index in own] == [0] * len(own)
    assert sum(right) > 0


@pytest.mark.parametrize("speakers", [["a", "a"], ["a", "b"]])
def test_an_empty_half_is_refused(speakers):
    states = [torch.ones(3, 2), torch.ones(0, 2)]
    classes = [torch.zeros(3, dtype=torch.long), torch.zeros(0, dtype=torch.long)]
    with pytest.raises(ValueError, match="one half is empty"):
        frames_read(states, classes, speakers, 1)


def test_utterances_without_frames_change_nothing():
    states, classes, speakers, n = artificial("noise", n=8)
    right = frames_read(states, classes, speakers, n)
    empty = torch.zeros(0, dtype=torch.long)
    more = frames_read([*states, torch.ones(0, 8)], [*classes, empty], [*speakers, "s0"], n)
    assert more == [*right, 0]


def test_accuracy_and_its_interval():
    right, frames = [3, 10, 0, 7], [10, 10, 5, 9]
    found = accuracy(right, frames)
    assert found["accuracy"] == pytest.approx(100 * 20 / 34)
    assert (found["low"], found["high"]) == bootstrap_interval(right, frames)
    assert found["low"] < found["accuracy"] < found["high"]


def test_models_of_different_depths_in_one_table():
    step = {"accuracy": 51.26, "low": 50.0, "high": 52.04}
    table = probe_table(
        {"a": [{"layer": "0", **step}], "b": [{"layer": n, **step} for n in ("0", "1/0")]}
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert cells[0] == ["step", "a", "b"]
    assert cells[2:] == [
        ["1", "0: 51.3 (50.0-52.0)", "0: 51.3 (50.0-52.0)"],
        ["2", "", "1/0: 51.3 (50.0-52.0)"],
    ]
