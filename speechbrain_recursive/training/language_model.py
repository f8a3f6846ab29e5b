"""The task of modeling the language of transcripts, for shallow fusion in the joint search."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import speechbrain as sb
import torch

from speechbrain_recursive.analysis.report import environment
from speechbrain_recursive.data.dataset import eval_loader, make_text_dataset, train_loader
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.objectives.lengths import token_counts
from speechbrain_recursive.training.brain import Brain
from speechbrain_recursive.training.distributed import shard


class LanguageModeling(Brain):
    """Trains SpeechBrain's ``TransformerLM`` on the words of the training manifests.

    Batches are measured in padded tokens (``max_batch_tokens``). The results folder is what a
    ASR model's ``lm`` names.
    """

    error_name = "perplexity"

    @staticmethod
    def loaders(hparams, manifests, tokenizer):
        """Batches by split; see :meth:`ASR.loaders`."""
        limit, workers = hparams["max_batch_tokens"], {"num_workers": hparams["num_workers"]}
        seed, most = hparams["seed"], hparams["max_batch_examples"]

        def dataset(splits):
            return make_text_dataset([manifests[split] for split in splits], tokenizer)

        return (
            train_loader(dataset(hparams["train_splits"]), limit, seed, most, **shard(), **workers),
            eval_loader(dataset(hparams["dev_splits"]), limit, **workers),
            {split: eval_loader(dataset([split]), limit, **workers) for split in hparams["test_splits"]},
        )

    def compute_forward(self, batch, stage):
        """Log-probabilities of each next token, as ``decoded`` [B, U, V]."""
        # Evaluated unwrapped: under DDP, test sets are the main process's alone.
        model = self.modules.model if stage == sb.Stage.TRAIN else self.hparams.model
        logits = model(batch.to(self.device).tokens_bos.data)
        return SimpleNamespace(decoded=logits.float().log_softmax(-1))

    def on_stage_start(self, stage, epoch=None):
        """Start the counts of a stage."""
        super().on_stage_start(stage, epoch)
        self.surprise, self.tokens = 0.0, 0

    def observe(self, outputs, batch):
        """Add up the surprise of every token, <eos> included."""
        targets, counts = batch.tokens_eos.data, token_counts(batch.tokens_eos)
        real = torch.arange(targets.shape[1], device=targets.device) < counts[:, None]
        scores = outputs.decoded.gather(2, targets[..., None]).squeeze(2)
        self.surprise -= float(scores[real].sum())
        self.tokens += int(counts.sum())

    def dev_error(self):
        """Perplexity by token."""
        return math.exp(self.surprise / self.tokens)

    def report(self, loaders, train_manifests, command):
        """Write the perplexity of the test sets to ``report.json``; see :meth:`ASR.report`."""
        self.modules.eval()
        results = []
        for split, loader in loaders.items():
            self.on_stage_start(sb.Stage.TEST)
            with torch.no_grad():
                for batch in loader:
                    self.observe(self.compute_forward(batch, sb.Stage.TEST), batch)
            results.append({"split": split, "perplexity": self.dev_error()})
            print(f"{split}: perplexity {self.dev_error():.2f} by token")
        found = {"results": results, "seed": self.hparams.seed, "command": command, **environment()}
        write_whole(Path(self.hparams.output_folder) / "report.json", json.dumps(found, indent=1))
