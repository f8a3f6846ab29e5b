"""Leaving a layer out gives the error rate of the model that does not have it."""

import csv
import re
import shutil

import pytest
import torch

from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.sensitivity import sensitivity
from speechbrain_recursive.inference.transcribe import RecursiveASR

SPLIT = "train-clean-100"
BOUNDARY = 4  # the id of |


NOISE = {"encoder.layers.0.": 0.02, "encoder.layers.1.": 0.2, "encoder.layers.2.": 0.05}


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A results folder with random weights, whose transcripts are what they recognize."""
    folder = tmp_path_factory.mktemp("sensitivity")
    for name in ("hyperparams.yaml", "tokenizer.json"):
        shutil.copy(trained / name, folder)
    shutil.copytree(trained / "manifests", folder / "manifests")
    torch.manual_seed(3)
    weights = torch.load(trained / "model.ckpt")
    for key, value in weights.items():
        if value.dim() > 1:
            noise = next((noise for start, noise in NOISE.items() if key.startswith(start)), 0.5)
            value += noise * torch.randn_like(value)
    weights["heads.ctc.linear.bias"][BOUNDARY] += 2.0  # more words
    torch.save(weights, folder / "model.ckpt")
    path, transcriber = (
        folder / f"manifests/{SPLIT}.csv",
        RecursiveASR.from_hparams(folder, decoder="greedy"),
    )
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "wrd": transcriber.transcribe_file(row["wav"])} for row in rows)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return sensitivity(folder, SPLIT)


@pytest.mark.parametrize("layer", [None, 0, 2])
def test_rates_are_those_of_a_model_whose_layer_does_nothing(folder, found, layer):
    transcriber = RecursiveASR.from_hparams(folder, decoder="greedy")
    if layer is not None:
        transcriber.model.encoder.layers[layer].forward = lambda x, **_: (x, None)
    triples = [
        (uid, row["wrd"].split(), transcriber.transcribe_file(row["wav"]).split())
        for uid, row in read_manifest(folder / f"manifests/{SPLIT}.csv").items()
    ]
    row = found["whole"] if layer is None else found["layers"][str(layer)]
    assert row["wer"] == error_rate(triples).wer
    assert row["low"] <= row["wer"] <= row["high"]


def test_the_layers_that_hurt_most_are_kept(found):
    rates = {int(layer): row["wer"] for layer, row in found["layers"].items()}
    assert found["whole"]["wer"] == 0
    assert len(set(rates.values())) == 4
    for n, kept in found["kept"].items():
        dropped = rates.keys() - kept
        assert len(kept) == int(n)
        assert max(rates[layer] for layer in dropped) <= min(rates[layer] for layer in kept)
    assert list(found["kept"]) == ["3", "2", "1"]
    assert found["schedule"] == "0 | (1-2)x3 | 3"


def test_at_another_loop_count(folder):
    assert sensitivity(folder, "dev-clean", loops=1)["schedule"] == "0 | (1-2)x1 | 3"
    with pytest.raises(UserError, match="loops must be at least 1"):
        sensitivity(folder, loops=0)


def test_a_single_layer_must_run(folder, tmp_path):
    shutil.copy(folder / "tokenizer.json", tmp_path)
    text = (folder / "hyperparams.yaml").read_text()
    for key, n in {"n_recurrent": 2, "n_prelude": 1, "n_coda": 1}.items():
        text = text.replace(f"{key}: {n}", f"{key}: {n // 2}")
    (tmp_path / "hyperparams.yaml").write_text(text)
    weights = torch.load(folder / "model.ckpt")
    left = {k: v for k, v in weights.items() if not re.match(r"encoder\.layers\.[1-3]", k)}
    torch.save(left, tmp_path / "model.ckpt")
    with pytest.raises(UserError, match=r"\(0\)x3 has a single layer, which must run"):
        sensitivity(tmp_path)
