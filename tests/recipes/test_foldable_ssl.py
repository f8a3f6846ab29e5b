"""The models of "Foldable" with wav2vec 2.0 and HuBERT: what its tables count, and fewer layers."""

import json
from pathlib import Path

import pytest
import torch

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.analysis.cost import count_parameters
from speechbrain_recursive.hparams import load
from speechbrain_recursive.inference.describe import describe
from speechbrain_recursive.inference.transcribe import RecursiveASR

HPARAMS = Path(__file__).parents[2] / "recipes/LibriSpeech/hparams"
OPEN = {"output_folder": "results", "data_folder": "data"}
MILLIONS = {12: 94.4, 10: 80.2, 8: 66.0, 6: 51.9, 4: 37.7, 3: 30.6, 2: 23.5}
SOURCES = {"wav2vec2": "facebook/wav2vec2-base-100h", "hubert": "facebook/hubert-base-ls960"}


@pytest.mark.parametrize("layers", MILLIONS)
@pytest.mark.parametrize("kind", SOURCES)
def test_parameters_and_depth_from_the_configuration(kind, layers):
    hparams, _ = load(HPARAMS / f"foldable_{kind}.yaml", OPEN | {"n_layers": layers}, device="meta")
    model = hparams["model"]
    total = count_parameters(model.parts())["total"]
    assert total / 1e6 == pytest.approx(MILLIONS[layers], rel=0.002)
    assert (model.schedule.n_layers, len(model.schedule)) == (layers, 12)
    assert model.embed.config.model_type == kind
    assert hparams["warm_start"].source == SOURCES[kind]


def test_training_as_the_paper_states_it():
    hparams, _ = load(HPARAMS / "foldable_wav2vec2.yaml", OPEN, device="meta")
    batches = -(-28539 // hparams["max_batch_examples"])  # utterances of train-clean-100
    assert hparams["number_of_steps"] == batches * hparams["number_of_epochs"] == 71360
    rate = hparams["lr_scheduler"]
    assert [rate.at(n) for n in (1, 35680, 71360)] == pytest.approx([5e-5, 2.5e-5, 0.0], abs=1e-9)
    assert not any(p.requires_grad for p in hparams["model"].embed.feature_extractor.parameters())
    objective, depth = hparams["objective"], hparams["model"].depth()
    assert (objective.seed_weight, objective.kl_weight) == (0.7, 0.005)
    assert hparams["layer_dropout"].rates(3) == [0.1, 0.1, 0.1]
    assert not objective.needs(depth).runs, "12 layers do not unfold to a depth of 12"
    smaller, _ = load(HPARAMS / "foldable_wav2vec2.yaml", OPEN | {"n_layers": 3}, device="meta")
    (seed,) = smaller["objective"].needs(smaller["model"].depth()).runs.values()
    assert str(seed.depth.schedule) == "(0)x1 | (1)x1 | (2)x1"


def test_description_at_full_size():
    found = describe(HPARAMS / "foldable_hubert.yaml", {"n_layers": 6})
    assert (found["physical_layers"], found["logical_depth"]) == (6, 12)
    assert 5e9 < found["multiply_adds_per_second"] < 1e10
    assert found["training"]["seconds"] == 128
    assert found["training"]["activation_bytes"] + found["training"]["state_bytes"] < 30 * 2**30


@pytest.fixture
def train(run_recipe, librispeech, small, tmp_path):
    """``train(kind, name, **more)``: two steps of a small model on speech; returns its results."""

    def run(kind, name, **more):
        path = HPARAMS / f"foldable_{kind}_mini.yaml"
        folder = tmp_path / name
        given = small(path) | {"data_folder": librispeech, "output_folder": folder} | more
        words = [w for key, value in given.items() for w in (f"--{key}", json.dumps(value, default=str))]
        run_recipe([path, *words, "--device", "cpu", "--noprogressbar"])
        return folder

    return run


@pytest.mark.parametrize("kind", SOURCES)
def test_fine_tune_drop_layers_and_unfold(kind, train, capsys):
    teacher = train(kind, "teacher", n_layers=3, depth=3)
    assert main(["analyze", "sensitivity", str(teacher)]) == 0
    kept = json.loads((teacher / "sensitivity.json").read_text())["kept"]["2"]
    assert f"| 2      | {kept[0]}, {kept[1]} |" in capsys.readouterr().out

    student = train(kind, "student", n_layers=2, depth=5, source=teacher, lr=0)
    weights, theirs = torch.load(student / "model.ckpt"), torch.load(teacher / "model.ckpt")
    for key, value in weights.items():
        if key.startswith("encoder.layers."):
            _, _, index, name = key.split(".", 3)
            key = f"encoder.layers.{kept[int(index)]}.{name}"
        assert torch.equal(value, theirs[key])
    assert f"Starts from layers {kept[0]}, {kept[1]} of {teacher}" in (student / "log.txt").read_text()
    rows = json.loads((student / "report.json").read_text())["results"]
    assert [row["depth"] for row in rows] == [2, 3, 4, 5]
    transcriber = RecursiveASR.from_hparams(student)
    assert str(transcriber.model.schedule) == "(0)x3 | (1)x2"
    wav = next(Path(student / "manifests").glob("test-clean.csv")).read_text().splitlines()[1].split(",")
    assert isinstance(
        transcriber.transcribe_file(next(cell for cell in wav if cell.endswith(".flac"))), str
    )


def test_a_source_that_is_missing_is_one_line(train, tmp_path):
    with pytest.raises(SystemExit) as caught:
        train("hubert", "run", source=tmp_path / "gone")
    assert caught.value.code.startswith(f"error: source: {tmp_path / 'gone'} is no folder")
    assert "\n" not in caught.value.code
