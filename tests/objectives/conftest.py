"""Padded batches and model outputs made by hand."""

from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.batch import PaddedData


def pad(rows, value=0):
    """Rows of token ids -> PaddedData with relative lengths, as SpeechBrain's collation gives."""
    width = max(1, *map(len, rows))
    data = torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.long)
    return PaddedData(data, torch.tensor([len(row) / width for row in rows]))


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
        outputs = SimpleNamespace(
            log_probs=logits.log_softmax(-1).requires_grad_(),
            decoded=decoder.log_softmax(-1).requires_grad_(),
            frames=torch.tensor(frames),
        )
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
        alone = SimpleNamespace(
            log_probs=outputs.log_probs[i : i + 1, :frames].detach().requires_grad_(),
            decoded=outputs.decoded[i : i + 1, : len(eos)].detach().requires_grad_(),
            frames=outputs.frames[i : i + 1],
        )
        one = SimpleNamespace(
            id=[batch.id[i]], tokens=pad([tokens.tolist()]), tokens_eos=pad([eos.tolist()])
        )
        return alone, one

    return cut
