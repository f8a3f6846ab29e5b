"""The error rate of a results folder at a depth is that of its transcripts, one by one."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.inference.results import open_results
from speechbrain_recursive.inference.score import error_of
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import Block, Schedule


@pytest.fixture(scope="module")
def results(trained, tmp_path_factory):
    """Model of random weights, tokenizer, hyperparameters with characters as units, and a manifest."""
    folder = tmp_path_factory.mktemp("score")
    for name in ("hyperparams.yaml", "tokenizer.json"):
        shutil.copy(trained / name, folder)
    torch.manual_seed(3)
    weights = torch.load(trained / "model.ckpt")
    noisy = {k: v + torch.randn_like(v) if v.dim() > 1 else v for k, v in weights.items()}
    torch.save(noisy, folder / "model.ckpt")
    model, tokenizer, hparams = open_results(folder)
    hparams["corpus"] = SimpleNamespace(units=list, rules=lambda manifest: None)
    return model, tokenizer, hparams, trained / "manifests/train-clean-100.csv"


def distance(one, other):
    """Edits between two sequences, by the recurrence."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b)))
    return row[-1]


def test_rates_are_those_of_single_transcripts(results):
    model, tokenizer, hparams, manifest = results
    without_a_layer = Depth(Schedule([Block("rest", (0, 2, 3))]))
    depths = [model.depth(3), model.depth(1), without_a_layer]
    found = error_of(model, tokenizer, hparams, [manifest], depths)
    assert list(found) == depths
    rows = read_manifest(manifest)
    for depth, rate in found.items():
        errors = length = 0
        for row in rows.values():
            signal = read_audio(row["wav"], 16000)
            with torch.no_grad():
                outputs = model(signal[None], torch.ones(1), depth=depth)
            (ids,) = greedy(outputs.log_probs, outputs.frames)
            errors += distance(row["wrd"], tokenizer.decode(ids))
            length += len(row["wrd"])
        assert rate.wer == pytest.approx(100 * errors / length)
    assert len({rate.wer for rate in found.values()}) == 3


def test_audio_that_cannot_be_read_counts_as_deletions(results, tmp_path):
    model, tokenizer, hparams, manifest = results
    head, *lines = manifest.read_text().splitlines()
    at = head.split(",").index("unreadable")
    cells = [line.split(",") for line in lines]
    assert not any(row[at] for row in cells)
    every = "\n".join([head, *(",".join([*row[:at], "1", *row[at + 1 :]]) for row in cells)])
    (tmp_path / "bad.csv").write_text(every + "\n")
    (rate,) = error_of(model, tokenizer, hparams, [tmp_path / "bad.csv"], [model.depth()]).values()
    assert rate.wer == 100.0
