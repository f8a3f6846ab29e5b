import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.device import check_device


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_named(name):
    check_device("cpu")
    check_device(None)
    with pytest.raises(UserError, match=f"^--device {name}: .*; try --device cpu$") as caught:
        check_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"--device cuda: .*; try --device cpu"):
        check_device("cuda")
