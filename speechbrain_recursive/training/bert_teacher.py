"""A BERT as the teacher of a recipe's tokens, on the fly or from a cache."""

import logging
from pathlib import Path

import torch

from speechbrain_recursive.nn.bert import Bert
from speechbrain_recursive.training.teacher_cache import TeacherCache
from speechbrain_recursive.training.teachers import Teacher

logger = logging.getLogger(__name__)


class BertTeacher(Teacher):
    """A frozen BERT: its last states, one for each token and <eos> (CIF-HKD, Section 2.1.2).

    BERT reads [CLS], the tokens and [SEP]; the state of [CLS] is dropped, and that of [SEP] belongs to
    <eos>. Augmented speech has the states of its transcript.

    Arguments
    ---------
    bert : str or pathlib.Path
        The name of a BERT at Hugging Face, such as ``bert-base-chinese``, or its folder.
    cache : str or pathlib.Path, optional
        A folder that ``speechbrain-recursive cache-teacher`` filled with the states of the training and
        dev transcripts, rounded to half precision. BERT then runs no more.

    Raises
    ------
    UserError
        On setup, if there is no such model, it is not BERT-like or does not know the tokens, or the
        cache is not complete or of another teacher.
    """

    def __init__(self, bert: str | Path, cache: str | Path | None = None):
        self.bert, self.cache = bert, cache

    def setup(self, tokenizer, device):
        """Load BERT, or open the cache."""
        bert = Bert(self.bert, tokenizer, device if self.cache is None else "cpu")
        if unknown := bert.ids.unknown:
            some = " ".join(unknown[:10])
            logger.warning(f"{self.bert} reads {len(unknown)} tokens as [UNK], such as {some}")
        self.device, self.states = device, bert
        if self.cache is not None:
            self.states = TeacherCache(self.cache)
            self.states.check(bert.digest())

    def expect(self, transcripts):
        """Compare the cache's transcripts with those of the run."""
        if self.cache is not None:
            self.states.expect(transcripts)

    def __call__(self, features, frames, targets, batch, request) -> torch.Tensor:
        """States [B, I, D] of the tokens and <eos> of a batch."""
        if self.cache is not None:
            return self.states(batch.id).to(self.device)
        return self.states(batch.tokens_eos)
