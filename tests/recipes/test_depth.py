"""The YAML files of "Rethinking Depth" have the encoders that its tables count, and fit a common GPU."""

import inspect
import json
from pathlib import Path

import pytest

from speechbrain_recursive.analysis.cost import count_parameters
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load, merge
from speechbrain_recursive.inference.describe import describe
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.model import ASRModel

RECIPES = Path(__file__).parents[2] / "recipes"
OPEN = {"output_folder": "results", "data_folder": "data"}  # what a run must be given

# Recipe, millions of parameters as the tables print them, tolerance, {N_R, L, N_P, N_C} as printed or,
# for L5 and L4, as we split them, logical depth.
ROWS = {
    "b": ("LibriSpeech", 75.6, 0.01, (24, 1, 0, 0), 24),
    "r1": ("LibriSpeech", 37.8, 0.01, (12, 2, 0, 0), 24),
    "r2": ("LibriSpeech", 18.9, 0.01, (6, 4, 0, 0), 24),
    "r3": ("LibriSpeech", 12.6, 0.01, (4, 6, 0, 0), 24),
    "r4": ("LibriSpeech", 3.15, 0.01, (1, 24, 0, 0), 24),
    "l1": ("LibriSpeech", 25.2, 0.01, (4, 5, 2, 2), 24),
    "l2": ("LibriSpeech", 15.7, 0.01, (1, 20, 2, 2), 24),
    "l3": ("LibriSpeech", 75.6, 0.01, (20, 5, 2, 2), 104),
    "b3": ("LibriSpeech", 101.6, 0.02, (24, 1, 0, 0), 24),
    "l5": ("LibriSpeech", 33.6, 0.02, (4, 5, 2, 2), 24),
    "b2": ("AISHELL-1", 15.7, 0.01, (12, 1, 0, 0), 12),
    "l4": ("AISHELL-1", 7.9, 0.01, (2, 4, 2, 2), 12),
}


@pytest.mark.parametrize("row", ROWS)
def test_parameters_and_depth(row):
    recipe, millions, tolerance, shape, depth = ROWS[row]
    found = describe(RECIPES / recipe / "hparams" / f"depth_{row}.yaml")
    assert found["parameters"]["encoder"] / 1e6 == pytest.approx(millions, rel=tolerance)
    assert found["logical_depth"] == depth
    recurrent, loops, prelude, coda = shape
    assert found["physical_layers"] == prelude + recurrent + coda
    assert f"x{loops}" in found["schedule"]
    memory = found["training"]["activation_bytes"] + found["training"]["state_bytes"]
    assert memory < 22 * 2**30, "24 GB, of which CUDA takes some"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("LibriSpeech/hparams/depth_[!m]*.yaml")), ids=str)
def test_a_step_has_600_seconds(path):
    tree = merge(path)
    assert tree["max_batch_seconds"] * tree["grad_accumulation_factor"] == 600


@pytest.mark.parametrize("loops", [1, 2, 5, 10, 20])
def test_the_loop_ablation_changes_depth_alone(loops):
    path = RECIPES / "LibriSpeech/hparams/depth_l1.yaml"
    found, plain = (load(path, OPEN | given, "meta")[0]["model"] for given in ({"loops": loops}, {}))
    assert len(found.schedule) == 4 + 4 * loops
    assert count_parameters(found.parts()) == count_parameters(plain.parts())


BICYCLE = """
base: {base}
schedule: !apply:speechbrain_recursive.nn.schedule.bicycle [4, 5, 2, 3]
n_recurrent: !remove
loops: !remove
n_prelude: !remove
n_coda: !remove
eval_loops: []
"""


class TestAnotherSchedule:
    """A recipe that brings a schedule of its own trains and reports at its depth, and at no other."""

    @pytest.fixture
    def recipe(self, tmp_path):
        path = tmp_path / "bicycle.yaml"
        path.write_text(BICYCLE.format(base=RECIPES / "common/depth.yaml"))
        return path

    def test_it_is_described_at_its_depth(self, recipe):
        facts = describe(recipe, {"corpus": None})
        assert (facts["logical_depth"], facts["physical_layers"]) == (20, 9)

    def test_it_trains_and_reports_at_its_depth(self, recipe, librispeech, run_recipe, tmp_path):
        recipe.write_text(
            recipe.read_text().replace("depth.yaml", "mini.yaml")
            + f"corpus: !new:{LibriSpeech.__module__}.LibriSpeech\n"
            + "    {train_splits: [train-clean-100], test_splits: [test-clean]}\n"
            + 'characters: "\'ABCDEFGHIJKLMNOPQRSTUVWXYZ"\n'
        )
        words = {"data_folder": librispeech, "output_folder": tmp_path / "run", "device": "cpu"}
        words |= {"d_model": 16, "nhead": 2, "d_ffn": 32, "number_of_steps": 2, "tensorboard": False}
        asked = []
        with pytest.MonkeyPatch.context() as patch:
            forward = ASRModel.forward
            patch.setattr(ASRModel, "forward", lambda *a, **k: asked.append((a, k)) or forward(*a, **k))
            flags = [str(word) for key, value in words.items() for word in (f"--{key}", value)]
            run_recipe([recipe, *flags, "--noprogressbar"])
        bound = [inspect.signature(forward).bind(*a, **k).arguments for a, k in asked]
        assert {len(call["depth"]) for call in bound} == {20}
        report = json.loads((tmp_path / "run/report.json").read_text())
        assert report["logical_depth"] == 20
        assert {row["depth"] for row in report["results"]} == {20}
        assert {row["label"] for row in report["results"]} == {"20 (phonetic x2, linguistic x3)"}

    def test_no_loop_count_overrules_it(self, recipe):
        with pytest.raises(UserError, match="has no key 'loops'"):
            describe(recipe, {"corpus": None, "loops": 5})
        policy = load(recipe, OPEN | {"corpus": None}, "meta")[0]
        depth = policy["task"].policy(policy["schedule"], 0, 10, [1.0])
        assert depth == Depth(policy["schedule"])
