"""What the Brain is given to do: which batches, which forward pass, which error, which report."""

from pathlib import Path
from typing import Any

import torch


class Task:
    """Base class of tasks; a recipe's YAML names one as ``task``.

    Attributes
    ----------
    error_name : str
        What the dev error is called in logs and checkpoints.
    brain : Brain
        Set by :meth:`setup`.
    """

    error_name = "error"

    def loaders(self, hparams: dict, manifests: dict[str, Path], tokenizer: Any) -> tuple:
        """Make the batches.

        Arguments
        ---------
        hparams : dict
            With the sizes of batches.
        manifests : dict of str to pathlib.Path
            By split.
        tokenizer : object
            See :mod:`speechbrain_recursive.data.tokenizers`.

        Returns
        -------
        SaveableDataLoader
            Training batches, of all training splits together.
        SaveableDataLoader
            Dev batches, of all dev splits together.
        dict of str to SaveableDataLoader
            By test split.
        """
        raise TypeError(f"{type(self).__name__} makes no loaders")

    def setup(self, brain: Any) -> None:
        """Prepare on the Brain's device, and refuse what would fail later (UserError)."""
        self.brain = brain

    def forward(self, batch: Any, training: bool) -> Any:
        """Run the model on a batch; returns what the objective reads."""
        raise TypeError(f"{type(self).__name__} has no forward pass")

    def reset(self) -> None:
        """Start counting the dev error."""

    def observe(self, outputs: Any, batch: Any) -> None:
        """Count what the dev error needs of one batch."""
        raise TypeError(f"{type(self).__name__} counts no dev error")

    def dev_error(self) -> float:
        """The dev error of the batches that were observed; lower is better."""
        raise TypeError(f"{type(self).__name__} counts no dev error")

    def report(self, loaders: dict[str, Any], command: str) -> dict:
        """Evaluate the test sets and write the report.

        Arguments
        ---------
        loaders : dict of str to DataLoader
            By test split.
        command : str
            The command line that the report names.

        Returns
        -------
        dict
            The content of ``report.json``.
        """
        raise TypeError(f"{type(self).__name__} has no report")

    @property
    def model(self) -> torch.nn.Module:
        """The model, never wrapped for distributed training."""
        return self.brain.hparams.model
