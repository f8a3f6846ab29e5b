"""Teachers: providers of targets for distillation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.peers import load_peer
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.request import Outputs, Request


def transcripts_of(manifests: Mapping[str, Path], corpus: Any) -> dict[str, str]:
    """The transcripts that a training reads, by ID.

    Arguments
    ---------
    manifests : mapping of str to pathlib.Path
        By split.
    corpus : Corpus
        With its training and dev splits.

    Returns
    -------
    dict of str to str
    """
    splits = (*corpus.train_splits, *corpus.dev_splits)
    return {uid: row["wrd"] for split in splits for uid, row in read_manifest(manifests[split]).items()}


class Teacher(ABC):
    """Base class of providers; a recipe's YAML names them under ``teachers``.

    They run without gradient and are neither trained, nor saved with checkpoints, nor published.

    Attributes
    ----------
    trust : bool
        Whether folders that the teacher opens may name any code. The task sets it to the recipe's
        ``trust`` before :meth:`setup`.
    """

    trust = False

    def setup(self, tokenizer: Any, device: torch.device | str) -> None:  # noqa: B027 (optional)
        """Load what is needed, in eval mode, once before training."""

    def expect(self, transcripts: Mapping[str, str]) -> None:  # noqa: B027 (optional)
        """Refuse what it cannot answer for (UserError), once before training.

        Arguments
        ---------
        transcripts : mapping of str to str
            Of the training and dev splits, by ID.
        """

    @abstractmethod
    def __call__(
        self,
        features: torch.Tensor,
        frames: torch.Tensor,
        targets: Mapping[str, torch.Tensor],
        batch: Any,
        request: Request,
    ) -> Any:
        """Answer what an objective asks for.

        Arguments
        ---------
        features : torch.Tensor
            The student's features [B, T, F], augmented as the student sees them.
        frames : torch.LongTensor
            Absolute frame counts [B].
        targets : mapping of str to torch.Tensor
            The student's targets.
        batch : PaddedBatch
            The whole batch.
        request : Request
            What the objectives asked for under the teacher's name.
        """


class TrainedTeacher(Teacher):
    """The model of a finished run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Its results folder.

    Raises
    ------
    UserError
        On setup, if the folder holds no finished run or its tokens are not the student's.
    """

    def __init__(self, folder: str | Path):
        self.folder = folder

    def setup(self, tokenizer, device):
        """Load the model and compare its tokens with the student's."""
        self.model = load_peer(self.folder, tokenizer, ASRModel, self.trust).to(device)

    def __call__(self, features, frames, targets, batch, request) -> Outputs:
        """Run the model at its own depth."""
        return self.model.from_features(features, frames, targets, request=request)
