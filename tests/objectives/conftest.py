"""Padded batches and model outputs made by hand."""

from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.request import Outputs
from speechbrain_recursive.nn.schedule import cycle
from speechbrain_recursive.nn.state import State
from speechbrain_recursive.objectives.objective import Objective

DEPTH = Depth(cycle(1, 3))


def pad(rows, value=0):
    """Rows of token ids -> PaddedData with relative lengths, as SpeechBrain's collation gives."""
    width = max(1, *map(len, rows))
    data = torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.long)
    return PaddedData(data, torch.tensor([len(row) / width for row in rows]))


def outputs_of(log_probs, decoded, frames, depth=DEPTH):
    """What a model gives: log-posteriors of both heads, with gradient, and frame counts [B]."""
    pad = pad_mask(frames, log_probs.shape[1])
    heads = {"ctc": log_probs.requires_grad_(), "seq2seq": decoded.requires_grad_()}
    return Outputs({"encoder": State(torch.zeros(*log_probs.shape[:2], 1), pad=pad)}, depth, heads)


@pytest.fixture
def make_case():
    """Build (outputs, batch) from token rows and frame counts, with random log probabilities."""

    def build(rows, frames, classes=4, extra_frames=0, seed=0, scale=1.0):
        generator = torch.Generator().manual_seed(seed)
        width = max(map(len, rows))
        logits = torch.randn(len(rows), max(frames), classes, generator=generator) * scale
        decoder = torch.randn(len(rows), width + 1, classes, generator=generator) * scale
        if extra_frames:
            logits = torch.nn.functional.pad(logits, (0, 0, 0, extra_frames), value=7.0)
        outputs = outputs_of(logits.log_softmax(-1), decoder.log_softmax(-1), torch.tensor(frames))
        batch = SimpleNamespace(
            id=[f"utt{i}" for i in range(len(rows))],
            tokens=pad(rows),
            tokens_eos=pad([[*row, classes - 1] for row in rows], value=1),
        )
        return outputs, batch

    return build


@pytest.fixture
def single():
    """Cut row i of (outputs, batch) out, without its padding."""

    def cut(outputs, batch, i):
        frames = int(outputs.frames[i])
        tokens = batch.tokens.data[
            i, : round(float(batch.tokens.lengths[i]) * batch.tokens.data.shape[1])
        ]
        eos = batch.tokens_eos.data[i, : len(tokens) + 1]
        alone = outputs_of(
            outputs.log_probs[i : i + 1, :frames].detach(),
            outputs.decoded[i : i + 1, : len(eos)].detach(),
            outputs.frames[i : i + 1],
        )
        one = SimpleNamespace(
            id=[batch.id[i]], tokens=pad([tokens.tolist()]), tokens_eos=pad([eos.tolist()])
        )
        return alone, one

    return cut


class Given(Objective):
    """Returns given losses and asks for a given request; notes the epochs that it is told of."""

    def __init__(self, losses, request=None):
        super().__init__()
        self.losses, self.request, self.epochs = losses, request, []
        self.scale = torch.nn.Parameter(torch.ones(1))

    def needs(self, depth):
        return super().needs(depth) if self.request is None else self.request

    def start_epoch(self, epoch):
        self.epochs.append(epoch)

    def forward(self, outputs, batch):
        return self.losses


@pytest.fixture
def given():
    """The class ``Given``."""
    return Given
