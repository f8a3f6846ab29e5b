"""CIF's recipes have the paper's models, and a latent-recursive CIF is one YAML file."""

import json
from itertools import accumulate
from pathlib import Path

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.analysis.cost import count_parameters
from speechbrain_recursive.data.espeak import Espeak
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load
from speechbrain_recursive.inference import boundaries
from speechbrain_recursive.inference.layers import open_layers
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


@pytest.mark.parametrize(
    ("corpus", "width", "millions"), [("AISHELL-1", 256, 47), ("LibriSpeech", 512, None)]
)
def test_sizes_and_losses_are_the_papers(corpus, width, millions):
    hparams, _ = load(RECIPES / corpus / "hparams/cif.yaml", OPEN, device="meta")
    model = hparams["model"]
    if millions:
        assert count_parameters(model.parts())["total"] / 1e6 == pytest.approx(millions, rel=0.03)
    assert str(model.schedule) == "0-4 | 5-9 | 10-14"
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
    aishell, run_recipe, small, tmp_path, capsys, monkeypatch
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
    with pytest.raises(UserError, match="its encoder pools frames, so that its layers cannot"):
        open_layers(tmp_path / "run")
    check_boundaries(tmp_path / "run", capsys, monkeypatch)


def check_boundaries(folder, capsys, monkeypatch):
    """Of characters. If those of the model came 20 ms late, all would be off by as much."""
    words = ["--split", "train", "--utterances", "2"]  # the test set has characters of its own
    assert main(["analyze", "boundaries", str(folder), *words]) == 0
    assert "of train: mean absolute error" in capsys.readouterr().out
    found = json.loads((folder / "boundaries.json").read_text())
    assert (found["utterances"], found["skipped"]) == (2, 0)
    assert found["error"] >= abs(found["shift"])
    voice, late = Espeak("cmn"), []
    utterances, _ = boundaries.spoken_utterances(folder, None, "train", 2)
    for _, _, text, phonemes in utterances:
        lengths = [len(voice.phonemes) for each in text if voice.speak(each).size]
        late.append([phonemes[end - 1].end + 0.02 for end in accumulate(lengths)])
    monkeypatch.setattr(boundaries, "_token_ends", lambda *_: late.pop(0))
    found = boundaries.boundary_errors(folder, "train", limit=2)
    assert found["error"] == pytest.approx(20)
    assert found["shift"] == pytest.approx(20)
    assert found["even"] > 20
