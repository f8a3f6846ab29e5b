"""CIF's recipes have the paper's models, and a latent-recursive CIF is one YAML file."""

import json
from pathlib import Path

import pytest

from speechbrain_recursive.hparams import load
from speechbrain_recursive.inference.describe import describe
from speechbrain_recursive.nn.depth import Depth

RECIPES = Path(__file__).parents[2] / "recipes"
OPEN = {"output_folder": "results", "data_folder": "data"}  # what a run must be given

LATENT = """
base: {base}
stages: !remove
schedule: !apply:speechbrain_recursive.nn.schedule.latent [1, 2, 1, 1]
hooks:
    stage1: !remove
    stage2: !remove
    prelude:
        - !new:speechbrain_recursive.nn.pooling.MaxPool
    recurrent:
        - !new:speechbrain_recursive.nn.pooling.MaxPool
eval_loops: [1, 3]
"""


def test_the_chinese_model_has_47_million_parameters():
    found = describe(RECIPES / "AISHELL-1/hparams/cif.yaml")
    assert found["parameters"]["total"] / 1e6 == pytest.approx(47, rel=0.03)
    assert found["schedule"] == "0-4 | 5-9 | 10-14"
    assert found["training"]["activation_bytes"] < 22 * 2**30, "24 GB, of which CUDA takes some"


@pytest.mark.parametrize(("corpus", "width"), [("AISHELL-1", 256), ("LibriSpeech", 512)])
def test_sizes_and_losses_are_the_papers(corpus, width):
    hparams, _ = load(RECIPES / corpus / "hparams/cif.yaml", OPEN, device="meta")
    model = hparams["model"]
    layer, cif, decoder = model.encoder.layers[0], model.after["cif"], model.after["decoder"]
    assert layer.mha_layer.num_heads == width // 64
    assert layer.convolution_module.conv.weight.shape == (width, 1, 15)
    assert layer.ffn_module1[1].ffn[0].out_features == 2048
    assert cif.conv.weight.shape == (width, width, 3)
    assert (cif.threshold, cif.tail, cif.scaling, cif.dropout.p) == (1.0, 0.5, True, 0.2)
    assert len(decoder.layers.layers) == 2
    assert decoder.layers.layers[0].dropout1.p == 0.2
    assert layer.drop.p == 0.1
    assert model.encoder.stride == 4
    assert model.embed.project.in_features == 40 * 128
    assert hparams["objective"].weights == {"seq2seq": 1.0, "ctc": 0.5, "quantity": 1.0}
    assert hparams["objective"].objectives[0].label_smoothing == 0.1
    assert hparams["decoders"]["cif"].beam_size == 10
    assert hparams["objective"].needs(Depth(model.schedule)).heads == {"seq2seq", "ctc"}


def test_a_latent_recursive_cif_trains_and_decodes_at_other_loop_counts(
    aishell, run_recipe, small, tmp_path
):
    base = RECIPES / "AISHELL-1/hparams/cif_mini.yaml"
    recipe = tmp_path / "cif_latent.yaml"
    recipe.write_text(LATENT.format(base=base))
    given = {"data_folder": aishell, "output_folder": tmp_path / "run", **small(base)}
    del given["stages"]
    words = [
        word for key, value in given.items() for word in (f"--{key}", json.dumps(value, default=str))
    ]
    run_recipe([recipe, *words, "--device", "cpu", "--noprogressbar"], "AISHELL-1")
    rows = json.loads((tmp_path / "run/report.json").read_text())["results"]
    assert {row["loops"]: row["trained"] for row in rows} == {1: False, 2: True, 3: False}
    assert {row["decoder"] for row in rows} == {"greedy", "cif_greedy", "cif"}
    assert len(rows) == 9
