"""The command line of a recipe."""

from dataclasses import replace

import torch
from speechbrain.utils.distributed import ddp_init_group
from speechbrain.utils.run_opts import RunOptions

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.hparams import merge
from speechbrain_recursive.hub import pin
from speechbrain_recursive.nn.device import check_device
from speechbrain_recursive.overrides import Overrides, parse_overrides


class _RunOptions(RunOptions):
    """SpeechBrain's run options, which leave the other words of the command line as they are.

    The stock method joins words by ``=`` and splits them again, so that ``--data_folder a=b`` becomes
    ``a b``.
    """

    _convert_to_yaml = staticmethod(list)


def parse_command_line(argv: list[str]) -> tuple[str, RunOptions, Overrides]:
    """Parse ``hparams.yaml --key value ...`` and join the process group of distributed training.

    Without a GPU, distributed training uses the ``gloo`` backend.

    Arguments
    ---------
    argv : list of str
        The words after the program's name.

    Returns
    -------
    str
        The YAML file.
    RunOptions
        SpeechBrain's run options.
    dict
        What to override in the YAML file. It includes the run options that are keys of the file, and the
        commit of a ``warm_start`` on the Hub.

    Raises
    ------
    UserError
        If PyTorch cannot use the device, or an option would have no effect.

    Example
    -------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/a.yaml"
    >>> _ = open(path, "w").write("precision: fp32\\nlr: 0.1")
    >>> _, run_opts, overrides = parse_command_line([path, "--lr=0.2", "--precision", "bf16"])
    >>> dict(overrides)
    {'lr': 0.2, 'precision': 'bf16'}
    """
    hparams_file, run_opts, words = _RunOptions.from_command_line_args(argv)
    given = run_opts.overridden_args
    if "optimizer_step_limit" in given:
        raise UserError("set a budget of steps with --number_of_steps, not --optimizer_step_limit")
    if "compile_module_keys" in given and not run_opts["compile"]:
        raise UserError(
            "--compile_module_keys does nothing without --compile; try --compile_layers True"
        )
    overrides = parse_overrides(words)
    tree = merge(hparams_file, overrides)
    overrides |= {key: run_opts[key] for key in sorted(given & tree.keys())}
    if isinstance(start := tree.get("warm_start"), str):
        overrides |= {"warm_start": pin(start)}
    check_device(run_opts["device"])
    if not torch.cuda.is_available() and "distributed_backend" not in given:
        gloo = {"distributed_backend": "gloo", "overridden_args": given | {"distributed_backend"}}
        run_opts = replace(run_opts, **gloo)  # SpeechBrain's Brain reads what was overridden, no more
    try:
        ddp_init_group(run_opts)
    except ValueError as error:
        raise UserError(
            f"--distributed_backend {run_opts['distributed_backend']}: {one_line(error)}"
        ) from error
    return hparams_file, run_opts, overrides
