"""LARM's YAML files have the models that its tables count, and its options are overrides that work."""

import json
from pathlib import Path

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load, merge
from speechbrain_recursive.inference.calibrate import calibrate
from speechbrain_recursive.inference.describe import describe
from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.nn.depth import Depth

OPEN = {"output_folder": "results", "data_folder": "data"}  # what a run must be given
HPARAMS = Path(__file__).parents[2] / "recipes/LibriSpeech/hparams"
SMALL = {"d_model": 16, "head_dim": 8, "frontend_channels": 4, "n_mels": 8, "number_of_steps": 2}

# Overrides of larm_100h.yaml, millions of parameters, logical depth. Widths 768 and 1024 are what their
# formula gives: the paper's table repeats the figures of its unshared encoders for them.
MODELS = {
    "LARM": ({}, 7.7, 48),
    "4 blocks": ({"loops": 1, "interval": 1}, 7.6, 4),
    "16 blocks": ({"n_recurrent": 16, "loops": 1, "interval": 1}, 28.9, 16),
    "48 blocks": ({"n_recurrent": 48, "loops": 1, "interval": 1}, 85.7, 48),
    "d 768": ({"d_model": 768}, 29.5, 48),
    "d 1024": ({"d_model": 1024}, 51.9, 48),
    "d 1280": ({"d_model": 1280}, 80.6, 48),
}
ABLATIONS = [
    {"hooks": None, "interval": 12},
    {"depth_conditioning": "none"},
    {"depth_conditioning": "mlp"},
    {"depth_conditioning": "embedding", "eval_loops": [4, 8, 12]},
    {"feedback": "current"},
    {"feedback": "none"},
    {"learn_gains": False},
    {"clock": False},
    {"final_norm": True},
    *({"interval": interval} for interval in (1, 2, 3, 6, 12)),
    *({"loops": loops} for loops in (4, 8, 16, 20, 24)),
    {"n_recurrent": 6, "loops": 8},
    {"n_recurrent": 8, "loops": 6, "interval": 3},
]


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_depth(name):
    overrides, millions, depth = MODELS[name]
    found = describe(HPARAMS / "larm_100h.yaml", overrides)
    assert found["parameters"]["total"] / 1e6 == pytest.approx(millions, rel=0.02)
    assert found["logical_depth"] == depth
    if not overrides:
        assert found["training"]["activation_bytes"] < 22 * 2**30, "24 GB, of which CUDA takes some"


@pytest.mark.parametrize(("name", "utterances"), [("larm_100h", 32), ("larm_960h", 256)])
def test_a_step_has_so_many_utterances(name, utterances):
    tree = merge(HPARAMS / f"{name}.yaml")
    assert tree["max_batch_examples"] * tree["grad_accumulation_factor"] == utterances


@pytest.mark.parametrize("overrides", ABLATIONS, ids=str)
def test_every_ablation_is_an_override(overrides):
    plain, _ = load(HPARAMS / "larm_100h.yaml", OPEN, device="meta")
    hparams, _ = load(HPARAMS / "larm_100h.yaml", OPEN | overrides, device="meta")
    assert told(hparams) != told(plain)


def told(hparams):
    """What tells two ablations apart: what is built, and where it is supervised."""
    hooks = [
        repr(hook) + str(vars(hook).get("delay"))
        for hook in (hparams["hooks"] or {}).get("recurrent", ())
    ]
    learned = [parameter.requires_grad for parameter in hparams["model"].parameters()]
    exits = hparams["objective"].needs(Depth(hparams["schedule"])).exits
    norm = type(hparams["model"].encoder.norm)
    return hooks, norm, learned, hparams["schedule"], set(exits)


@pytest.fixture(scope="module")
def larm(librispeech, run_recipe, tmp_path_factory):
    """``larm(folder, **overrides)``: the mini recipe, or another, at a small width for two steps."""

    def run(folder, recipe=HPARAMS / "larm_mini.yaml", **overrides):
        given = {"data_folder": librispeech, "output_folder": folder, "tensorboard": False}
        given |= {"decoders": {"ngram": {"order": 2}}, **SMALL, **overrides}
        words = [
            word for key, value in given.items() for word in (f"--{key}", json.dumps(value, default=str))
        ]
        run_recipe([recipe, *words, "--device", "cpu", "--noprogressbar"])
        return folder

    return run


def supervised(folder):
    rows = json.loads((folder / "report.json").read_text())["results"]
    return {row["loops"] for row in rows if row["supervised"]}, {row["loops"] for row in rows}


def test_checkpoints_are_marked(larm, tmp_path):
    assert supervised(larm(tmp_path)) == ({2, 4, 6}, set(range(1, 10)))


@pytest.mark.parametrize(
    "overrides",
    [
        {"hooks": None, "interval": 6},
        {"depth_conditioning": "embedding", "eval_loops": [2, 6]},
        {"depth_conditioning": "mlp", "feedback": "current", "learn_gains": False},
        {"n_recurrent": 1, "n_prelude": 1, "n_coda": 1},
    ],
    ids=str,
)
def test_ablations_train(larm, tmp_path, overrides):
    larm(tmp_path, **overrides)
    exits, evaluated = supervised(tmp_path)
    interval = overrides.get("interval", 2)
    assert exits == {loops for loops in evaluated if loops <= 6 and loops % interval == 0}


def test_utterances_leave_at_checkpoints(larm, tmp_path):
    larm(tmp_path)
    torch.manual_seed(1)
    weights = torch.load(tmp_path / "model.ckpt")
    noisy = {k: v + 0.5 * torch.randn_like(v) if v.dim() > 1 else v for k, v in weights.items()}
    torch.save(noisy, tmp_path / "model.ckpt")
    found = calibrate(tmp_path, "kl", allowed=100.0, split="train-clean-100")
    assert found["blocks"]["recurrent"]["every"] == 2
    average, fixed = found["adaptive"]["loops"], found["fixed"]
    assert 2 <= average < 6
    assert fixed["below"]["loops"] in (2, 4)
    assert fixed["above"]["loops"] == fixed["below"]["loops"] + 2
    assert fixed["below"]["loops"] <= average < fixed["above"]["loops"]
    wers = sorted(fixed[side]["wer"] for side in ("below", "above"))
    assert wers[0] <= fixed["wer"] <= wers[1]
    model = RecursiveASR.from_hparams(tmp_path, adaptive=True).model
    loops = []
    model.encoder.layers[0].register_forward_hook(lambda *_: loops.append(1))
    with torch.no_grad():
        for seed in range(20):
            torch.manual_seed(seed)
            model(torch.randn(1, 8000), torch.ones(1))
            assert len(loops) in (2, 4, 6)
            loops.clear()


def test_a_budget_that_the_interval_does_not_divide(larm, tmp_path):
    with pytest.raises(
        SystemExit, match=r"error: .*interval: 4 does not divide .* of 6 loops; choose among"
    ):
        larm(tmp_path, interval=4)
    with pytest.raises(UserError, match="does not divide"):
        describe(HPARAMS / "larm_100h.yaml", {"interval": 5})


def test_checkpoints_of_a_block_that_the_schedule_lacks(larm, tmp_path):
    recipe = tmp_path / "own.yaml"
    schedule = "!apply:speechbrain_recursive.nn.schedule.bicycle [2, 2, 6, 6]"
    recipe.write_text(f"base: {HPARAMS / 'larm_mini.yaml'}\nschedule: {schedule}\nhooks: null\n")
    with pytest.raises(SystemExit, match=r"error: .*intermediate CTC: no block 'recurrent' recurs in"):
        larm(tmp_path / "run", recipe=recipe)


def test_loops_beyond_the_table_of_depths(larm, librispeech, tmp_path):
    with pytest.raises(SystemExit, match=r"error: eval_loops: loop 7 .*table was made for 6 loops"):
        larm(tmp_path, depth_conditioning="embedding")
    larm(tmp_path, depth_conditioning="embedding", eval_loops=[6])
    with pytest.raises(UserError, match="--loops 7: loop 7 has no depth embedding"):
        RecursiveASR.from_hparams(tmp_path).transcribe_file(next(librispeech.rglob("*.flac")), loops=7)


def test_unknown_options_are_named(larm, tmp_path):
    with pytest.raises(SystemExit, match="feedback 'next' is none of previous, current"):
        larm(tmp_path, feedback="next")
    with pytest.raises(SystemExit, match="depth conditioning 'deep' is none of none, embedding"):
        larm(tmp_path, depth_conditioning="deep")
