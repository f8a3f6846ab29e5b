"""The task of modeling the language of transcripts with a BERT, as a teacher of a CIF model."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import torch

from speechbrain_recursive.files import write_whole
from speechbrain_recursive.hub import import_transformers, quiet
from speechbrain_recursive.nn.bert import MARKS, BertIds
from speechbrain_recursive.training.language_model import LanguageModeling

MASK = MARKS.index("[MASK]")
NO_LABEL = -100  # of Hugging Face's loss


class MaskedLanguageModeling(LanguageModeling):
    """Trains a small BERT on the words of the training manifests.

    As in BERT's pre-training (Devlin et al., 2019), tokens are drawn at a rate of 15%. Of those, 80%
    become [MASK] and 10% any token; the others stay. Here at least one token of each utterance is drawn.
    In evaluation all that are drawn become [MASK], and the draw is always the same.

    When the training ends, the folder ``bert`` in the results folder holds the model as Hugging Face's
    ``from_pretrained`` reads it. The ``bert`` of a distillation recipe names it.

    Arguments
    ---------
    rate : float
        Share of tokens to draw.
    """

    def __init__(self, rate: float = 0.15):
        self.rate = rate

    def setup(self, brain):
        """Map the tokens to those of BERT."""
        super().setup(brain)
        self.pieces = [*MARKS, *brain.tokenizer.pieces[brain.tokenizer.unk + 1 :]]
        self.ids = BertIds(brain.tokenizer, self.pieces)

    def forward(self, batch, training):
        """The loss of drawn tokens, `logits` [B, I + 1, V] and `labels` [B, I + 1], -100 elsewhere."""
        ids, real = self.ids(batch.to(self.brain.device).tokens_eos)
        inputs, labels = self.mask(ids, real, None if training else self.draws)
        found = self.model(input_ids=inputs, attention_mask=real.long(), labels=labels)
        return SimpleNamespace(loss=found.loss, logits=found.logits, labels=labels)

    def mask(
        self, ids: torch.Tensor, real: torch.Tensor, draws: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask tokens.

        Arguments
        ---------
        ids : torch.LongTensor
            BERT's ids [B, I + 1], from [CLS] to [SEP].
        real : torch.BoolTensor
            False on padding.
        draws : torch.Generator, optional
            A generator on the CPU, for evaluation.

        Returns
        -------
        torch.LongTensor
            The ids that the model sees.
        torch.LongTensor
            The true ids where a token was drawn, -100 elsewhere.
        """
        inside = real.clone()
        inside[:, 0] = False
        inside[:, :-1] &= real[:, 1:]  # not [SEP], behind which there is nothing
        inside[:, -1] = False
        lots = torch.rand(ids.shape, generator=draws).to(ids.device).masked_fill(~inside, 2.0)
        drawn = inside & ((lots < self.rate) | (lots == lots.min(1, keepdim=True).values))
        labels = ids.masked_fill(~drawn, NO_LABEL)
        if draws is not None:
            return ids.masked_fill(drawn, MASK), labels
        kind = torch.rand(ids.shape).to(ids.device)
        any_token = torch.randint(len(MARKS), len(self.pieces), ids.shape).to(ids.device)
        inputs = torch.where(drawn & (kind < 0.1), any_token, ids)
        return inputs.masked_fill(drawn & (kind >= 0.2), MASK), labels

    def reset(self):
        """Start counting, from the first draw on."""
        super().reset()
        self.right, self.draws = 0, torch.Generator().manual_seed(0)

    def observe(self, outputs, batch):
        """Count surprise and hits of the drawn tokens."""
        drawn = outputs.labels != NO_LABEL
        labels, logits = outputs.labels[drawn], outputs.logits[drawn].float()
        self.surprise += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        self.right += int((logits.argmax(-1) == labels).sum())
        self.tokens += len(labels)

    def figures(self):
        """Perplexity of masked tokens, and how many of them are right, in percent."""
        return {**super().figures(), "masked_accuracy": 100 * self.right / self.tokens}

    def report(self, loaders, command, diverged=None):
        """Write the report, and the model for Hugging Face's ``from_pretrained``."""
        found = super().report(loaders, command, diverged)
        if not diverged:
            print(f"BERT: {self._publish(Path(self.brain.hparams.output_folder) / 'bert')}")
        return found

    def _publish(self, folder):
        """Write the folder, whole or not at all."""
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with quiet(import_transformers()):
            self.model.save_pretrained(partial)
        write_whole(partial / "vocab.txt", "".join(f"{piece}\n" for piece in self.pieces))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
        return folder
