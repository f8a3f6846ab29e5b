"""Frames get the phoneme that is spoken at their center, whatever model they come from."""

import csv
import shutil

import pytest
import torch

from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.phonemes import Phoneme, read_phonemes, write_phonemes
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference import probe
from speechbrain_recursive.inference.layers import Layers
from speechbrain_recursive.inference.results import short_names


@pytest.fixture
def labels(librispeech):
    return read_phonemes(librispeech / "LibriSpeech/phonemes.csv")


@pytest.fixture
def test_set(trained):
    with (trained / "manifests/test-clean.csv").open() as file:
        return [*csv.DictReader(file)]


def slow_phoneme(phonemes, time):
    """The phoneme at a time, by a search of all."""
    return next((name for start, end, name in phonemes if start <= time < end), None)


@pytest.fixture
def model_of(monkeypatch):
    """``model_of(outputs, frame_seconds)`` puts a model of two steps in the place of the trained one."""

    def replace(outputs, frame_seconds=0.04):
        layers = Layers(["0", "1"], 16000, frame_seconds, None, outputs)
        monkeypatch.setattr(probe, "open_layers", lambda model, device, trust: layers)

    return replace


@pytest.mark.parametrize("frame_seconds", [0.04, 0.02])
def test_states_that_are_the_phonemes_are_read_in_full(
    trained, labels, test_set, model_of, frame_seconds
):
    """The first step's states are the phonemes at the centers of the frames, the second's are noise."""
    names = sorted({phoneme.name for row in test_set for phoneme in labels[row["ID"]]})
    rows = {len(read_audio(row["wav"])): labels[row["ID"]] for row in test_set}
    counts = {}

    def outputs(signal):
        phonemes = rows[len(signal)]
        times = [k * frame_seconds for k in range(1 + int(len(signal) / 16000 / frame_seconds))]
        said = [slow_phoneme(phonemes, time) for time in times]
        for name in filter(None, said):
            counts[name] = counts.get(name, 0) + 1
        exact = torch.tensor([[float(name == one) for one in names] for name in said])
        torch.manual_seed(0)
        return torch.stack([exact, torch.randn(exact.shape)])

    model_of(outputs, frame_seconds)
    found = probe.probe_models([trained])
    first, second = found["models"][str(trained)]
    both = [{p.name for p in labels[row["ID"]]} for row in test_set]
    assert found["frames"] == sum(counts.values())
    assert found["phonemes"] == len(names)
    assert first["layer"] == "0"
    seen = both[0] & both[1]  # a phoneme that the other speaker does not say cannot be learned
    reachable = 100 * sum(n for name, n in counts.items() if name in seen) / found["frames"]
    assert first["accuracy"] == pytest.approx(reachable, abs=1e-9)
    assert second["accuracy"] < 30 < reachable
    assert found["majority"] < 20


def test_models_side_by_side(trained, mini, tmp_path):
    other = mini(tmp_path / "other", "loops", 1, "eval_loops", "[1]")
    found = probe.probe_models([trained, other])
    three, one = found["models"].values()
    assert [step["layer"] for step in three] == ["0", "1/0", "2/0", "1/1", "2/1", "1/2", "2/2", "3"]
    assert [step["layer"] for step in one] == ["0", "1", "2", "3"]
    assert (found["split"], found["utterances"]) == ("test-clean", 2)
    alone = probe.probe_models([trained])
    assert alone["models"] == {str(trained): three}
    assert found == probe.probe_models([trained, other])
    for step in (*three, *one):
        assert 0 <= step["low"] <= step["accuracy"] <= step["high"] <= 100


def test_labels_of_ones_own(trained, labels, test_set, tmp_path):
    """Utterances without labels are left out, and so is what is not labeled in the others."""
    part = {row["ID"]: [p for p in labels[row["ID"]] if p.end < 1.0] for row in test_set}
    part["unknown"] = [Phoneme(0.0, 99.0, "x")]
    write_phonemes(tmp_path / "own.csv", part.items())
    found = probe.probe_models([trained], tmp_path / "own.csv")
    whole = probe.probe_models([trained])
    assert found["labels"] == str(tmp_path / "own.csv")
    assert 0 < found["frames"] < 0.7 * whole["frames"]
    dev = probe.probe_models([trained], split="dev-clean")
    assert (dev["split"], dev["utterances"]) == ("dev-clean", 2)


def test_a_limit(trained):
    found = probe.probe_models([trained], split="train-clean-100", limit=7)
    assert found["utterances"] == 7


def test_mistakes_are_named(trained, test_set, tmp_path):
    own, uid = tmp_path / "own.csv", test_set[0]["ID"]

    def refused(match, rows=None, **options):
        if rows is not None:
            write_phonemes(own, rows)
        with pytest.raises(UserError, match=match) as error:
            probe.probe_models([trained], **options)
        assert "\n" not in str(error.value)

    refused("no labels of phonemes at .*gone.csv", labels=tmp_path / "gone.csv")
    refused("own.csv has no phonemes of any utterance in .*test-clean.csv", [], labels=own)
    late = [(uid, [Phoneme(0.0, 0.5, "a"), Phoneme(0.5, 99.0, "b")])]
    refused(rf"own.csv: the phonemes of {uid} end at 99 s, but it lasts \d\.\d\d s", late, labels=own)
    one = [(uid, [Phoneme(0.0, 0.5, "a")])]
    refused("own.csv, test-clean: every second speaker .* one half is empty", one, labels=own)
    refused("at least one utterance", limit=0)
    refused("no manifest at .*gone.csv", split="gone")


def test_a_corpus_without_labels_is_named(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    manifest = tmp_path / "copy/manifests/test-clean.csv"
    manifest.write_text(manifest.read_text().replace("/LibriSpeech/", "/elsewhere/"))
    with pytest.raises(UserError, match=r"test-clean.csv: the corpus has no phonemes.csv; .*--labels"):
        probe.probe_models([tmp_path / "copy"])


def test_short_names():
    assert short_names(["a/teacher/1", "a/cycle/1"]) == ["teacher", "cycle"]
    assert short_names(["a/cycle/1", "a/cycle/2"]) == ["1", "2"]
    assert short_names(["a/b", "a/b/c/d"]) == ["b", "b/c/d"]
    assert short_names(["a/x/1", "b/x/1"]) == ["a", "b"]
    with pytest.raises(UserError, match=r"\./a is named twice"):
        short_names(["./a", "a"])
