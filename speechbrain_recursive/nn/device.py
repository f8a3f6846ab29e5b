"""The device that a user names."""

import torch

from speechbrain_recursive.errors import UserError, one_line


def check_device(name: str | None) -> None:
    """Refuse a device that PyTorch cannot use.

    Arguments
    ---------
    name : str, optional
        A PyTorch device, such as ``cuda:1``.

    Raises
    ------
    UserError
        If there is no such device.

    Example
    -------
    >>> check_device("gpu")
    Traceback (most recent call last):
    speechbrain_recursive.errors.UserError: --device gpu: Expected one of cpu, cuda, ...
    """
    if name is None:
        return
    try:
        torch.zeros(1, device=name).item()  # the device meta holds no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise UserError(f"--device {name}: {one_line(why)}; try --device cpu") from error
