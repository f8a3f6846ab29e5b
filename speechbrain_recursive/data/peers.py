"""Models of other runs that read or write this run's tokens."""

from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained


def load_peer(folder: str | Path, tokenizer: Any, kind: type, trust: bool = False) -> torch.nn.Module:
    """Load the model of another run, which must have the same tokens.

    Arguments
    ---------
    folder : str or pathlib.Path
        Its results folder.
    tokenizer : object
        This run's tokenizer.
    kind : type
        The class that the model must have.
    trust : bool
        Whether the folder's YAML may name any code; see
        :func:`~speechbrain_recursive.hparams.load_trained`.

    Raises
    ------
    UserError
        If the folder holds no finished run of such a model or names what it may not, or its tokens are
        others.
    """
    check_tokens(Path(folder) / "tokenizer.json", tokenizer)
    return load_trained(folder, kind, trust)[0]


def check_tokens(path: Path, tokenizer: Any) -> None:
    """Refuse another run whose token ids mean other text.

    Arguments
    ---------
    path : pathlib.Path
        Its ``tokenizer.json``.
    tokenizer : object
        This run's tokenizer.

    Raises
    ------
    UserError
        If the tokens differ; the message names what differs first.
    """
    theirs, ours = load_tokenizer(path).pieces, tokenizer.pieces
    differ = (i for i, pair in enumerate(zip(theirs, ours, strict=False)) if pair[0] != pair[1])
    if (first := next(differ, None)) is not None:
        what = f"token {first} is {theirs[first]!r} there and {ours[first]!r} in this run"
    elif len(theirs) != len(ours):
        what = f"it has {len(theirs)} tokens and this run {len(ours)}"
    else:
        return
    raise UserError(f"{path}: {what}; train both on the same tokens")
