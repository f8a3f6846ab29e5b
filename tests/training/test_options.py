"""Command lines of recipes."""

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.training.options import parse_command_line


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("precision: fp32\ndata_folder: null\nlr: 0.1\n")
    return str(path)


@pytest.mark.parametrize("words", [["--data_folder", "/x/a=b"], ["--data_folder=/x/a=b"]])
def test_a_value_may_hold_an_equals_sign(recipe, words):
    assert parse_command_line([recipe, *words])[2] == {"data_folder": "/x/a=b"}


def test_run_options_that_the_file_holds_override_it(recipe):
    path, run_opts, overrides = parse_command_line([recipe, "--precision", "bf16", "--device=cpu"])
    assert (path, run_opts["device"]) == (recipe, "cpu")
    assert overrides == {"precision": "bf16"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "gpu"], "--device gpu: .*; try --device cpu"),
        (["--optimizer_step_limit", "5"], "--number_of_steps"),
        (["--compile_module_keys", "model"], "--compile_layers True"),
        (["--lr"], "pairs of --key value"),
        (["--distributed_backend", "carrier_pigeon"], "--distributed_backend carrier_pigeon"),
    ],
)
def test_what_cannot_work_is_refused(recipe, words, said, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UserError, match=said):
        parse_command_line([recipe, *words])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_processes_talk_over_gloo(recipe):
    assert parse_command_line([recipe])[1]["distributed_backend"] == "gloo"
    assert (
        parse_command_line([recipe, "--distributed_backend", "mpi"])[1]["distributed_backend"] == "mpi"
    )
