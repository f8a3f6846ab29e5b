"""Averaging is right where entries share storage."""

import pytest
import torch

from speechbrain_recursive.training.averaging import average_checkpoints
from speechbrain_recursive.training.checkpoints import AtomicCheckpointer


def saved(folder, module, values):
    checkpointer = AtomicCheckpointer(folder, {"model": module})
    for value in values:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(value)
        checkpointer.save_checkpoint()
    return checkpointer.find_intact()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shared_storage_is_averaged_once(tmp_path, dtype):
    layer = torch.nn.Linear(2, 2, dtype=dtype)
    twice = torch.nn.ModuleList([layer, layer])
    average = average_checkpoints(saved(tmp_path, twice, [1.0, 2.0, 3.0]), "model")
    assert set(average) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert all(value.eq(2.0).all() for value in average.values())
    twice.load_state_dict(average)
    assert layer.weight.eq(2.0).all()


def test_a_view_into_another_entry_is_averaged_once(tmp_path):
    module = torch.nn.Linear(2, 2)
    module.register_buffer("row", module.weight.detach()[0])
    average = average_checkpoints(saved(tmp_path, module, [1.0, 2.0, 3.0]), "model")
    assert average["row"].eq(2.0).all()
    assert average["weight"].eq(2.0).all()


def test_types_and_counters_are_kept_and_sums_do_not_round(tmp_path):
    module = torch.nn.BatchNorm1d(2).bfloat16()
    module.num_batches_tracked += 7
    step = 1 + 2**-7  # the next bfloat16 after 1; in bfloat16, 1 + step is 2
    average = average_checkpoints(saved(tmp_path, module, [step, step, 1.0]), "model")
    assert average["weight"].dtype == torch.bfloat16
    assert average["weight"].eq(step).all()
    assert average["num_batches_tracked"] == 7
    assert average["num_batches_tracked"].dtype == torch.int64


def test_one_checkpoint_averages_to_itself(tmp_path):
    module = torch.nn.Linear(3, 3)
    checkpointer = AtomicCheckpointer(tmp_path, {"model": module})
    checkpointer.save_checkpoint()
    average = average_checkpoints(checkpointer.find_intact(1), "model")
    assert all(torch.equal(average[key], value) for key, value in module.state_dict().items())


def test_checkpoints_of_other_models_are_refused(tmp_path):
    checkpoints = saved(tmp_path / "a", torch.nn.Linear(2, 2), [1.0])
    checkpoints += saved(tmp_path / "b", torch.nn.Linear(2, 3), [1.0])
    with pytest.raises(ValueError, match=r"(weight|bias) differs from the other"):
        average_checkpoints(checkpoints, "model")
