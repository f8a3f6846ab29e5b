"""What every decoder declares, and what decoders are built from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.files import check_file
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
    text : callable, optional
        Returns the training transcripts as a list of str, with spaces between the units that errors are
        counted in. None: the run is over, and the n-grams in its folder are read as they are.
    load_lm : callable
        Loads the language model of another results folder and checks that its tokens are the same.
    find : callable
        Where a file is that YAML names.
    """

    model: torch.nn.Module
    tokenizer: Any
    folder: Path
    text: Callable[[], list[str]] | None
    load_lm: Callable[[str], torch.nn.Module]
    find: Callable[[str], str | Path] = Path

    def own_ngram(self, name: str, order: int, spell: Callable[[str], str] = lambda line: line) -> Path:
        """The n-gram of the training transcripts, estimated unless the run is over.

        Arguments
        ---------
        name : str
            Its name in the results folder.
        order : int
            Length of its longest n-gram.
        spell : callable
            From a transcript to what the n-gram counts.

        Raises
        ------
        UserError
            If the run is over and has left no n-gram of this name.
        """
        arpa = self.folder / name
        if self.text is None:
            advice = "repeat the run's command to make it, or choose another decoder"
            return check_file(arpa, f"{arpa} does not exist: {advice}")
        return estimate_ngram(map(spell, self.text()), arpa, order)


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
