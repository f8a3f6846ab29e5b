"""Greedy CTC against the definition, one utterance and one frame at a time."""

import itertools
from types import SimpleNamespace

import torch

from speechbrain_recursive.decoding.greedy import Greedy, greedy


def collapse(labels, blank):
    return [label for label, _ in itertools.groupby(labels) if label != blank]


def test_equals_the_definition_at_every_length():
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (60, 9))
    frames = torch.arange(60) % 10
    log_probs = torch.nn.functional.one_hot(labels, 4).float() + 0.1 * torch.rand(60, 9, 4)
    for blank in (0, 3):
        found = greedy(log_probs, frames, blank)
        assert found == [
            collapse(row[:n].tolist(), blank) for row, n in zip(labels, frames, strict=True)
        ]


def test_what_stands_in_the_padding_does_not_matter():
    log_probs = torch.zeros(2, 5, 3)
    log_probs[:, :, 1] = 1.0
    log_probs[0, 2:, 2] = 9.0
    assert greedy(log_probs, torch.tensor([2, 5])) == [[1], [1]]


def test_the_declared_decoder_uses_the_tokenizers_blank():
    torch.manual_seed(1)
    outputs = SimpleNamespace(log_probs=torch.randn(4, 9, 5), frames=torch.tensor([9, 0, 3, 7]))
    for blank in (0, 2):
        decode = Greedy().build(SimpleNamespace(tokenizer=SimpleNamespace(blank=blank)))
        assert decode(outputs) == greedy(outputs.log_probs, outputs.frames, blank)
