"""The task of modeling the language of transcripts, for shallow fusion in the joint search."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import torch

from speechbrain_recursive.data.dataset import make_text_dataset
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.objectives.lengths import token_counts
from speechbrain_recursive.training.task import Task


class LanguageModeling(Task):
    """Trains SpeechBrain's ``TransformerLM`` on the words of the training manifests.

    Batches are measured in padded tokens (``max_batch_tokens``). The ``lm`` of an ASR recipe's joint
    decoder names the results folder.
    """

    error_name = "perplexity"

    def limits(self, hparams):
        """Padded tokens."""
        return hparams["max_batch_tokens"], hparams["max_batch_tokens"]

    def dataset(self, manifests, tokenizer, hparams):
        """Transcripts."""
        return make_text_dataset(manifests, tokenizer)

    def amounts(self, batch):
        """Tokens, <eos> included."""
        return {"tokens": float(token_counts(batch.tokens_eos).sum())}

    def forward(self, batch, training):
        """Log-probabilities of each next token, as ``decoded`` [B, U, V]."""
        logits = self.model(batch.to(self.brain.device).tokens_bos.data)
        return SimpleNamespace(decoded=logits.float().log_softmax(-1))

    def reset(self):
        """Start counting perplexity."""
        self.surprise, self.tokens = 0.0, 0

    def observe(self, outputs, batch):
        """Add up the negative log-probability of every token, <eos> included."""
        targets, counts = batch.tokens_eos.data, token_counts(batch.tokens_eos)
        real = torch.arange(targets.shape[1], device=targets.device) < counts[:, None]
        scores = outputs.decoded.gather(2, targets[..., None]).squeeze(2)
        self.surprise -= float(scores[real].sum())
        self.tokens += int(counts.sum())

    def dev_error(self):
        """Perplexity by token."""
        return math.exp(self.surprise / self.tokens)

    def figures(self):
        """What a report says of a test set."""
        return {"perplexity": self.dev_error()}

    def report(self, loaders, command, diverged=None):
        """Write the perplexity of the test sets to ``report.json``; see :class:`Task`."""
        self.brain.modules.eval()
        results = []
        for split, loader in ({} if diverged else loaders).items():
            self.reset()
            with torch.no_grad():
                for batch in loader:
                    self.observe(self.forward(batch, training=False), batch)
            results.append({"split": split, **self.figures()})
            said = ", ".join(f"{name} {value:.2f}" for name, value in self.figures().items())
            print(f"{split}: {said.replace('_', ' ')} by token")
        found = {"results": results, **self.about_run(command, diverged)}
        folder = Path(self.brain.hparams.output_folder)
        print(f"Report: {write_whole(folder / 'report.json', json.dumps(found, indent=1))}")
        return found
