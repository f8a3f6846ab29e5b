"""Tasks of the Brain: batches, forward pass, dev error and report."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from speechbrain_recursive.analysis.report import environment
from speechbrain_recursive.data.dataset import eval_loader, train_loader
from speechbrain_recursive.data.fingerprint import fingerprint
from speechbrain_recursive.data.manifest import summarize
from speechbrain_recursive.training.distributed import shard


class Task(ABC):
    """Base class of tasks; a recipe's YAML names one as ``task``.

    Attributes
    ----------
    error_name : str
        What the dev error is called in logs and checkpoints.
    brain : Brain
        Set by :meth:`setup`.
    model : torch.nn.Module
        The model, never wrapped for distributed training; set by :meth:`setup`.
    """

    error_name = "error"

    @abstractmethod
    def limits(self, hparams: dict) -> tuple[float, float]:
        """Limits of the batches of training and of evaluation, in the dataset's unit of length."""

    @abstractmethod
    def dataset(self, manifests: list[Path], tokenizer: Any, hparams: dict) -> Any:
        """The dataset of some manifests."""

    def loaders(self, hparams: dict, manifests: dict[str, Path], tokenizer: Any) -> tuple:
        """Make the batches.

        Arguments
        ---------
        hparams : dict
            With the corpus and the sizes of batches.
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
        corpus, workers = hparams["corpus"], {"num_workers": hparams["num_workers"]}
        limit, eval_limit = self.limits(hparams)

        def dataset(splits):
            return self.dataset([manifests[split] for split in splits], tokenizer, hparams)

        def in_order(splits):
            return eval_loader(dataset(splits), eval_limit, **workers)

        order = hparams["seed"], hparams["max_batch_examples"]
        train = dataset(corpus.train_splits)
        return (
            train_loader(train, limit, *order, **shard(), **workers),
            in_order(corpus.dev_splits),
            {split: in_order([split]) for split in corpus.test_splits},
        )

    def setup(self, brain: Any) -> None:
        """Prepare on the Brain's device, and refuse what would fail later (UserError)."""
        self.brain, self.model = brain, brain.hparams.model

    def amounts(self, batch: Any) -> dict[str, float]:
        """What a batch holds, by unit, for the pace in logs; nothing by default."""
        return {}

    @abstractmethod
    def forward(self, batch: Any, training: bool) -> Any:
        """Run the model on a batch; returns what the objective reads."""

    @abstractmethod
    def reset(self) -> None:
        """Start counting the dev error."""

    @abstractmethod
    def observe(self, outputs: Any, batch: Any) -> None:
        """Count what the dev error needs of one batch."""

    @abstractmethod
    def dev_error(self) -> float:
        """The dev error of the batches that were observed; lower is better."""

    def about_run(self, command: str, diverged: str | None = None) -> dict:
        """What every report says about its run.

        Arguments
        ---------
        command : str
            The command line.
        diverged : str, optional
            Why the training diverged, if it did.

        Returns
        -------
        dict
            ``diverged`` if it did, ``debug`` if the run was one of ``--debug``, ``command``, ``seed``,
            ``steps``, ``training_seconds`` (validation included, over all resumed runs), ``corpus``,
            ``synthetic`` (bool), ``utterances`` and ``hours`` (by split), ``fingerprint`` (of
            :func:`~speechbrain_recursive.data.fingerprint.fingerprint`), and what
            :func:`~speechbrain_recursive.analysis.report.environment` says.
        """
        brain, hparams = self.brain, self.brain.hparams
        folder, corpus = Path(hparams.output_folder), hparams.corpus
        splits = {split: summarize(folder / f"manifests/{split}.csv") for split in corpus.splits}
        return {
            **({"diverged": diverged} if diverged else {}),
            **({"debug": True} if brain.debug else {}),
            "command": command,
            "seed": hparams.seed,
            "steps": brain.optimizer_step,
            "training_seconds": round(brain.training_seconds, 1),
            "corpus": type(corpus).__name__,
            "synthetic": hparams.data_folder is None,
            "utterances": {split: found["utterances"] for split, found in splits.items()},
            "hours": {split: found["hours"] for split, found in splits.items()},
            "fingerprint": fingerprint(folder, corpus.splits),
            **environment(),
        }

    @abstractmethod
    def report(self, loaders: dict[str, Any], command: str, diverged: str | None = None) -> dict:
        """Evaluate the test sets and write the report.

        Arguments
        ---------
        loaders : dict of str to DataLoader
            By test split.
        command : str
            The command line that the report names.
        diverged : str, optional
            Why the training diverged, if it did. Nothing is evaluated then.

        Returns
        -------
        dict
            The content of ``report.json``, with ``diverged`` if the training did.
        """
