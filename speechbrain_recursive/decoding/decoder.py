"""What every decoder declares, and what decoders are built from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.nn.request import Outputs, Request

Decode = Callable[[Outputs], list[list[int]]]


@dataclass(frozen=True)
class Setting:
    """What decoders are built from.

    Arguments
    ---------
    model : ASRModel
        In eval mode when decoding.
    tokenizer : object
        With ``pieces``, ``encode``, ``blank``, ``bos``, ``eos`` and ``unk``, in the layout of
        :mod:`speechbrain_recursive.data.tokenizers`.
    folder : pathlib.Path
        The results folder, where estimated n-grams are written.
    text : callable
        Returns the training transcripts as a list of str, with spaces between the units that errors are
        counted in.
    load_lm : callable
        Loads the language model of another results folder and checks that its tokens are the same.
    """

    model: torch.nn.Module
    tokenizer: Any
    folder: Path
    text: Callable[[], list[str]]
    load_lm: Callable[[str], torch.nn.Module]


class Decoder:
    """A decoder as YAML declares it; :meth:`build` gives the function that decodes.

    A subclass takes in its constructor what YAML sets, and a line under ``decoders:`` makes it run and
    appear in reports under that line's name.

    Attributes
    ----------
    request : Request
        What it reads of the model's outputs, besides the encoder's.
    trained_only : bool
        Whether it runs at the trained depth alone.

    Example
    -------
    >>> class FirstToken(Decoder):
    ...     def build(self, setting):
    ...         return lambda outputs: outputs.log_probs[:, :1].argmax(-1).tolist()
    >>> FirstToken().request.heads
    frozenset({'ctc'})
    """

    request = Request(heads={"ctc"})
    trained_only = False

    def check(self, setting: Setting) -> None:
        """Check before training that the decoder can be built after it.

        Arguments
        ---------
        setting : Setting
            What :meth:`build` will be called with.

        Raises
        ------
        UserError
            If it cannot.
        """

    def build(self, setting: Setting) -> Decode:
        """Make the decoding function.

        Arguments
        ---------
        setting : Setting
            What it is built from.

        Returns
        -------
        callable
            From ``Outputs`` of B utterances to the token ids of each (list of list of int);
            ``tokenizer.decode`` gives the text.
        """
        raise TypeError(f"{type(self).__name__} builds no decoding function")

    def engine(self, decode: Decode) -> str:
        """What searches in a function that :meth:`build` made, for reports."""
        return "PyTorch"
