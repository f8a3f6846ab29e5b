"""Averages of checkpoints, correct for shared layers."""

from speechbrain_recursive.weights import read_weights


def average_checkpoints(checkpoints, name):
    """Average one recoverable's state dict over checkpoints.

    Every entry is summed out of place, in float64. SpeechBrain's own averaging adds in place, so storage
    that several entries share is summed once per entry. Entries that are not floating point, such as
    counters, are taken from the first checkpoint.

    Arguments
    ---------
    checkpoints : list of Checkpoint
        At least one, such as ``checkpointer.find_intact(5, min_key="wer")``.
    name : str
        The recoverable, such as ``"model"``.

    Returns
    -------
    dict
        Tensors on the CPU by name, with the types and shapes that were saved.

    Raises
    ------
    ValueError
        If two checkpoints differ in names or shapes.

    Example
    -------
    >>> import tempfile, torch
    >>> from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
    >>> model = torch.nn.Linear(1, 1)
    >>> checkpointer = AtomicCheckpointer(tempfile.mkdtemp(), {"model": model})
    >>> for value in (1.0, 4.0):
    ...     _ = torch.nn.init.constant_(model.weight, value)
    ...     _ = checkpointer.save_checkpoint()
    >>> average_checkpoints(checkpointer.find_intact(2), "model")["weight"]
    tensor([[2.5000]])
    """
    first, sums = None, {}
    for checkpoint in checkpoints:
        state = read_weights(checkpoint.paramfiles[name])
        first = state if first is None else first
        for key in first.keys() | state.keys():
            if key not in first or key not in state or first[key].shape != state[key].shape:
                raise ValueError(f"{checkpoint.path}: {key} differs from the other checkpoints")
            if first[key].is_floating_point():
                value = state[key].double()
                sums[key] = sums[key] + value if key in sums else value
    return {
        key: (sums[key] / len(checkpoints)).to(value.dtype) if key in sums else value
        for key, value in first.items()
    }
