"""Full-size recipes are described without their corpus, as scripts expect it."""

import json
from pathlib import Path

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.inference.describe import as_text, describe

HPARAMS = Path(__file__).parents[2] / "recipes/LibriSpeech/hparams"


@pytest.fixture
def facts(capsys, tmp_path, monkeypatch):
    """``facts(yaml, *overrides)``: what ``describe --json`` prints, in a folder that must stay empty."""
    monkeypatch.chdir(tmp_path)

    def run(yaml, *overrides):
        assert main(["describe", str(HPARAMS / yaml), "--json", *overrides]) == 0
        assert not list(tmp_path.iterdir())
        return json.loads(capsys.readouterr().out)

    return run


def millions(found):
    return found["parameters"]["encoder"] / 1e6


def test_the_papers_row_l1(facts):
    found = facts("transformer_latent.yaml")
    assert found["schedule"] == "0-1 | (2-5)x5 | 6-7"
    assert (found["physical_layers"], found["logical_depth"]) == (8, 24)
    assert millions(found) == pytest.approx(25.2, rel=0.01)
    parts = dict(found["parameters"])
    assert parts.pop("total") == sum(parts.values())
    assert {"encoder", "embed", "ctc head", "seq2seq head"} == parts.keys()
    assert isinstance(found["multiply_adds_per_second"], int)
    assert isinstance(found["peak_activation_bytes"], int)


def test_the_papers_row_b_by_overrides(facts):
    rows = ["--n_recurrent", "24", "--loops", "1", "--n_prelude", "0", "--n_coda", "0"]
    found = facts("transformer_latent.yaml", *rows)
    assert (found["physical_layers"], found["logical_depth"]) == (24, 24)
    assert millions(found) == pytest.approx(75.6, rel=0.01)


def test_loops_cost_compute_and_memory_but_no_parameters(facts):
    one, four = facts("mini.yaml", "--loops", "1"), facts("mini.yaml", "--depth", "10")
    assert (four["schedule"], four["logical_depth"]) == ("0 | (1-2)x4 | 3", 10)
    assert one["parameters"] == four["parameters"]
    # from 1 to 4 loops, the encoder goes from 4 to 10 layers
    rate = [found["multiply_adds_per_second"] for found in (one, four)]
    assert 1.5 < rate[1] / rate[0] < 2.5
    assert one["peak_activation_bytes"] < four["peak_activation_bytes"]


def test_a_depth_that_cannot_be(capsys):
    for words, said in (
        (
            ["--depth", "5"],
            "--depth 5: no path of the schedule 0 | (1-2)x1 | 3 has depth 5; the nearest: 4, 6",
        ),
        (["--depth", "6", "--loops", "2"], "--loops 2 and --depth 6: give one of them"),
    ):
        assert main(["describe", str(HPARAMS / "mini.yaml"), *words]) == 1
        assert said in capsys.readouterr().err


def test_recomputation_shows_in_the_memory(facts):
    plain, again = (facts("mini.yaml", "--recompute", value) for value in ("False", "True"))
    assert again["peak_activation_bytes"] < 0.8 * plain["peak_activation_bytes"]


def test_the_memory_of_a_training_is_that_of_its_own_batches(facts):
    plain = facts("mini.yaml", "--max_batch_seconds", "40")["training"]
    assert (plain["seconds"], plain["batches_per_step"]) == (32, 1)
    twice = facts("mini.yaml", "--max_batch_seconds", "70", "--grad_accumulation_factor", "3")[
        "training"
    ]
    assert (twice["seconds"], twice["batches_per_step"]) == (64, 3)
    assert twice["activation_bytes"] == pytest.approx(2 * plain["activation_bytes"], rel=0.01)
    assert facts("mini.yaml", "--max_batch_seconds", "70", "--max_batch_examples", "2")["training"] == {
        **plain,
        "batches_per_step": 1,
    }
    assert facts("mini.yaml")["training"]["seconds"] == 16, "a batch has an utterance at least"


def test_the_state_of_a_training_is_four_numbers_for_each_parameter(facts):
    found = facts("mini.yaml")
    assert found["training"]["state_bytes"] == 16 * found["parameters"]["total"]


def test_text_for_a_terminal():
    text = as_text(describe(HPARAMS / "mini.yaml"))
    assert "a training batch of 16 s, 1 in a step" in text
    assert "0 | (1-2)x3 | 3" in text
    assert " M" in text
    assert "MiB in a training step" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.yaml"], "gone.yaml does not exist"),
        ([HPARAMS / "mini.yaml", "--loops", "0"], "loops must be at least 1, got 0"),
        ([HPARAMS / "mini.yaml", "--n_loops", "2"], "no key 'n_loops' to override"),
        ([HPARAMS / "mini.yaml", "--loops"], "pairs of --key value"),
        ([HPARAMS / "mini.yaml", "--loops", "[1"], "overrides, line 1: no valid YAML"),
        ([HPARAMS / "transformer_lm.yaml"], "describes no ASR model, but a TransformerLM"),
    ],
)
def test_mistakes_are_one_line(capsys, words, said):
    assert main(["describe", *map(str, words)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
