"""The YAML files of "Rethinking Depth" have the encoders that its tables count."""

from pathlib import Path

import pytest

from speechbrain_recursive.inference.describe import describe

RECIPES = Path(__file__).parents[2] / "recipes"

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


@pytest.mark.parametrize("loops", [1, 2, 5, 10, 20])
def test_the_loop_ablation_changes_depth_alone(loops):
    path = RECIPES / "LibriSpeech/hparams/depth_l1.yaml"
    found, plain = describe(path, {"loops": loops}), describe(path)
    assert found["logical_depth"] == 4 + 4 * loops
    assert found["parameters"] == plain["parameters"]
