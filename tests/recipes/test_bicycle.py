"""The YAML files of BiCycle have the models that its tables count, and start as its teacher's layers."""

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.nnet.attention import RelPosEncXL

from speechbrain_recursive.analysis.cost import count_parameters
from speechbrain_recursive.hparams import load
from speechbrain_recursive.inference.describe import describe
from speechbrain_recursive.nn.layer_maps import shared_mean, stepwise
from speechbrain_recursive.nn.schedule import standard
from speechbrain_recursive.nn.transfer import transfer_layers

RECIPES = Path(__file__).parents[2] / "recipes"
OPEN = {"output_folder": "results", "data_folder": "data"}

# Millions of parameters and logical depth as the tables print them.
ROWS = {
    "LibriSpeech/teacher": (30.5, 18),
    "LibriSpeech/baseline": (16.2, 9),
    "LibriSpeech/1_1": (16.2, 9),
    "LibriSpeech/2_2": (16.2, 16),
    "LibriSpeech/2_3": (16.2, 20),
    "LibriSpeech/3_2": (16.2, 19),
    "LibriSpeech/3_3": (16.2, 23),
    "LibriSpeech/cycle_18": (16.2, 18),
    "LibriSpeech/cycle_27": (16.2, 27),
    "LibriSpeech/sequence_18": (16.2, 18),
    "LibriSpeech/sequence_27": (16.2, 27),
    "LibriSpeech/relaxed": (17.5, 18),
    "LibriSpeech/zero_token_16": (16.5, 16),
    "LibriSpeech/zero_token_23": (16.5, 23),
    "LibriSpeech/kd": (16.2, 16),
    "LibriSpeech/gfd": (16.2, 20),
    "LibriSpeech/fitnets": (16.2, 20),
    "CommonVoice-fr/teacher": (121, 18),
    "CommonVoice-fr/baseline": (64.6, 9),
    "CommonVoice-fr/1_1": (64.6, 9),
    "CommonVoice-fr/2_2": (64.6, 16),
    "CommonVoice-fr/cycle_18": (64.6, 18),
    "CommonVoice-fr/zero_token_16": (65.8, 16),
}
TAKEN = [1, 3, 5, 7, 10, 12, 14, 16, 18]  # layers of the teacher


def recipe(row):
    corpus, name = row.split("/")
    return RECIPES / corpus / "hparams" / f"bicycle_{name}.yaml"


@pytest.fixture(scope="module")
def built():
    """``built(row)``: what a recipe describes, without memory for its weights."""
    return cache(lambda row: load(recipe(row), OPEN, device="meta")[0])


@pytest.mark.parametrize("row", ROWS)
def test_parameters_and_depth(row, built):
    millions, depth = ROWS[row]
    model = built(row)["model"]
    assert count_parameters(model.parts())["total"] / 1e6 == pytest.approx(millions, rel=0.02)
    assert len(model.schedule) == depth
    assert model.schedule.n_layers == (18 if row.endswith("teacher") else 9)


def test_deeper_gfd_is_an_override():
    hparams, _ = load(recipe("LibriSpeech/gfd"), OPEN | {"phonetic_loops": 3}, device="meta")
    assert len(hparams["schedule"]) == 23


def test_the_deepest_row_fits_24_gb():
    found = describe(recipe("LibriSpeech/cycle_27"))["training"]
    assert found["activation_bytes"] + found["state_bytes"] < 22 * 2**30


@pytest.mark.parametrize("row", ROWS)
def test_students_start_from_the_layers_that_the_paper_takes(row, built):
    hparams = built(row)
    start = hparams["warm_start"]
    if row.endswith(("teacher", "baseline")):
        assert start is None
        return
    taken = start.layers(18, 9)
    assert str(start.path) == "results/bicycle_teacher/1234/model.ckpt"
    assert taken == (shared_mean(18, 9) if "relaxed" in row else stepwise(18, 9, n_phonetic=7))
    if "relaxed" not in row:
        assert [layer + 1 for (layer,) in taken] == TAKEN


@pytest.mark.parametrize("row", ROWS)
def test_distillation_comes_before_100_epochs_of_ctc(row, built):
    hparams = built(row)
    stages = getattr(hparams["objective"], "epochs", ())
    assert stages == ((30,) if row.endswith(("gfd", "fitnets")) else ())
    assert hparams["epoch_counter"].limit == sum(stages) + 100
    depth, schedule = hparams["model"].depth(None), hparams["schedule"]
    read = [request.teachers.get("teacher") for request in hparams["objective"].requests(depth)]
    assert any(read) == row.endswith(("kd", "gfd", "fitnets"))
    if row.endswith("gfd"):
        assert sorted(read[0].taps) == [6, 17]  # the teacher's 7th and 18th layer
        assert schedule.ends("phonetic")[-1] == 6


def test_a_new_student_is_a_stock_conformer_of_the_teachers_layers():
    """With R_P = R_K = 1 it runs nine different layers once."""
    sizes = {"d_model": 16, "nhead": 2, "d_ffn": 32, "vocab_size": 40}
    teacher, student = (
        load(recipe(f"LibriSpeech/{name}"), OPEN | sizes)[0]["model"].eval()
        for name in ("teacher", "1_1")
    )
    layers = load(recipe("LibriSpeech/1_1"), OPEN | sizes)[0]["warm_start"].layers
    transfer_layers(student, teacher.state_dict(), layers)
    stock = ConformerEncoder(9, d_model=16, d_ffn=32, nhead=2, kernel_size=31, dropout=0.1)
    stock.layers = torch.nn.ModuleList(copy.deepcopy(teacher.encoder.layers[n - 1]) for n in TAKEN)
    stock.norm = teacher.encoder.norm
    x = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    positions = RelPosEncXL(16)(x)
    given, expected = (encoder.eval()(x, pos_embs=positions)[0] for encoder in (student.encoder, stock))
    assert torch.equal(given, expected)
    assert len(standard(9)) == len(student.schedule)
    for part in ("embed", "heads"):
        theirs = getattr(teacher, part).state_dict()
        assert all(
            torch.equal(value, theirs[key]) for key, value in getattr(student, part).state_dict().items()
        )
