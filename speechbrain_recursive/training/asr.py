"""The task of recognizing speech: loaders, forward pass, dev error and test report."""

import json
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.analysis.cost import count_parameters, multiply_adds_per_second
from speechbrain_recursive.analysis.plots import loops_label
from speechbrain_recursive.analysis.report import environment, write_report
from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.dataset import eval_loader, make_dataset, train_loader
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding.beam import read_lexicon
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.decoding.joint import estimate_token_ngram
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.training.brain import Brain
from speechbrain_recursive.training.distributed import shard
from speechbrain_recursive.training.evaluation import evaluate


class ASR(Brain):
    """Trains an ASR model at loop counts drawn for each step, and reports it at every loop count.

    Of the hyperparameters it also reads ``loop_policy``, ``fea_augment``, ``dynamic_chunks``,
    ``compile_layers`` and those of decoding (``eval_loops``, ``ngram``, ``ngram_order``, ``ngram_beam``,
    ``joint_beam``).
    """

    error_name = "WER"

    def __init__(self, tokenizer, **kwargs):
        super().__init__(tokenizer, **kwargs)
        self.error_name = tokenizer.metric.upper()
        self._check_decoding()
        if self.hparams.compile_layers:
            self._compile_layers()
        self._check_model()

    @staticmethod
    def loaders(hparams, manifests, tokenizer):
        """Batches by split.

        Arguments
        ---------
        hparams : dict
            With the names of the splits and the sizes of batches.
        manifests : dict of str to pathlib.Path
            By split.
        tokenizer : object
            For the transcripts.

        Returns
        -------
        SaveableDataLoader
            Training batches, of all training splits together.
        SaveableDataLoader
            Dev batches, of all dev splits together.
        dict of str to SaveableDataLoader
            By test split.
        """

        def dataset(splits):
            return make_dataset([manifests[s] for s in splits], tokenizer, hparams["sample_rate"])

        workers = {"num_workers": hparams["num_workers"]}
        most = hparams["max_batch_examples"]
        limit, eval_limit = hparams["max_batch_seconds"], hparams["eval_batch_seconds"]
        train = dataset(hparams["train_splits"])
        return (
            train_loader(train, limit, hparams["seed"], most, **shard(), **workers),
            eval_loader(dataset(hparams["dev_splits"]), eval_limit, **workers),
            {
                split: eval_loader(dataset([split]), eval_limit, **workers)
                for split in hparams["test_splits"]
            },
        )

    def compute_forward(self, batch, stage):
        """Run the model, in training with drawn loops and augmentation."""
        batch = batch.to(self.device)
        wavs, wav_lens = batch.sig
        training = stage == sb.Stage.TRAIN
        loops = self._loops(wavs, wav_lens, training)
        return self.modules.model(
            wavs,
            wav_lens,
            tokens_bos=batch.tokens_bos.data if self.tokenizer.bos is not None else None,
            loops=loops,
            exits=self.hparams.objective.exits(self.hparams.model.at(loops)),
            augment=self._augment if training and self.hparams.fea_augment else None,
            dynchunktrain_config=self.hparams.dynamic_chunks and self.hparams.dynamic_chunks(stage),
        )

    def on_stage_start(self, stage, epoch=None):
        """Start the counts of a stage."""
        super().on_stage_start(stage, epoch)
        self.hypotheses = []

    def observe(self, outputs, batch):
        """Decode greedily."""
        decoded = greedy(outputs.log_probs, outputs.frames)
        for uid, words, ids, bad in zip(batch.id, batch.wrd, decoded, batch.unreadable, strict=True):
            text = "" if bad else self.tokenizer.decode(ids)
            self.hypotheses.append((uid, self.tokenizer.units(words), self.tokenizer.units(text)))

    def dev_error(self):
        """Greedy error rate of words, or of characters, in percent, at the trained loop count."""
        return error_rate(self.hypotheses).wer

    def report(self, loaders, train_manifests, command):
        """Decode test sets at every loop count and write the report.

        Arguments
        ---------
        loaders : dict of str to DataLoader
            By split.
        train_manifests : list of pathlib.Path
            Whose words n-grams are estimated from.
        command : str
            What the report says it was made by.
        """
        hparams, model = self.hparams, self.hparams.model.eval()
        folder = Path(hparams.output_folder)
        rows = (row for path in train_manifests for row in read_manifest(path).values())
        text = [" ".join(self.tokenizer.units(row["wrd"])) for row in rows]
        ngram = hparams.ngram or estimate_ngram(text, folder / "ngram.arpa", hparams.ngram_order)
        found = evaluate(
            model,
            loaders,
            self.tokenizer,
            hparams.eval_loops,
            hparams.loop_policy,
            supervises=self._supervises,
            ngram=hparams.ngram_beam(self.tokenizer, ngram),
            joint=self._joint_search(text),
            chunks=hparams.dynamic_chunks and hparams.dynamic_chunks(sb.Stage.TEST),
            progressbar=not self.noprogressbar,
        )
        trained = model.at(hparams.loop_policy.trained)
        info = {
            "schedule": str(trained),
            "logical_depth": len(trained),
            "parameters": count_parameters(model.parts()),
            "multiply_adds_per_second": {
                label: multiply_adds_per_second(model, loops)
                for label, loops in {
                    loops_label(row["loops"]): row["loops"] for row in found.rows
                }.items()
            },
            "seed": hparams.seed,
            "steps": self.optimizer_step,
            "command": command,
            "synthetic": hparams.data_folder is None,
            **environment(),
        }
        write_report(folder, found.rows, info, found.worst)
        write_whole(
            folder / "hypotheses.json", json.dumps(found.hypotheses, indent=1, ensure_ascii=False)
        )

    def _check_decoding(self):
        """Refuse before training what would stop the report after it."""
        hparams = self.hparams
        if hparams.ngram is not None:
            read_lexicon(self.tokenizer, hparams.ngram)
        elif hparams.ngram_order < 2:
            raise UserError(f"ngram_order is {hparams.ngram_order}; KenLM takes 2 and above")
        self._language_model()

    def _compile_layers(self):
        try:
            self.hparams.model.transformer.encoder.compile_layers()
        except ValueError as error:
            raise UserError(one_line(error)) from error

    @torch.no_grad()
    def _check_model(self):
        """Try the model on a second of silence, so that what cannot work fails before training."""
        hparams, model = self.hparams, self.hparams.model.eval()
        if not isinstance(hparams.eval_loops, list):
            raise UserError(f"eval_loops is a list, such as [3, 5], not {hparams.eval_loops!r}")
        second = torch.ones(1, device=self.device)
        silence = torch.zeros(1, hparams.sample_rate, device=self.device)
        chunks = DynChunkTrainConfig(chunk_size=8) if hparams.dynamic_chunks else None
        trained = [hparams.loop_policy.at_inference(second)]
        tries = {"the ASR model cannot run": trained, "eval_loops": trained + hparams.eval_loops}
        for what, counts in tries.items():
            try:
                deepest = max(counts, key=lambda loops: len(model.at(loops)))
                exits = hparams.objective.exits(model.at(deepest))
                model(silence, second, loops=deepest, exits=exits, dynchunktrain_config=chunks)
            except torch._dynamo.exc.TorchDynamoException as error:
                why = one_line(str(error).partition("\n\nSet TORCH")[0])
                raise UserError(f"compile_layers: {why}; False runs without compiling") from error
            except (ValueError, RuntimeError) as error:
                raise UserError(f"{what}: {one_line(error)}") from error

    def _loops(self, wavs, wav_lens, training):
        """Loop counts of a batch: drawn in training, the policy's own for inference otherwise."""
        seconds = wav_lens * wavs.shape[1] / self.hparams.sample_rate
        policy = self.hparams.loop_policy
        if not training:
            return policy.at_inference(seconds)
        return policy(step=self.optimizer_step, total_steps=self.total_steps, seconds=seconds)

    def _supervises(self, loops):
        """Whether a loop count had a loss in training: as a count of steps, or as an exit of them."""
        policy, at = self.hparams.loop_policy, self.hparams.model.at
        exits, schedule = self.hparams.objective.exits(at(policy.trained)), at(loops)
        ends = {schedule.ends(name)[-1] for name in schedule.loops}
        return policy.supervises(loops) or (bool(ends) and ends <= exits)

    def _joint_search(self, text):
        """The joint search with the recipe's language models, or None without an attention decoder."""
        hparams = self.hparams
        if hparams.joint_beam is None or hparams.model.seq_lin is None:
            return None
        models = {"lm": self._language_model()}
        if hparams.token_ngram_weight > 0:
            arpa = Path(hparams.output_folder) / "tokens.arpa"
            order = hparams.token_ngram_order
            models["ngram"] = estimate_token_ngram(text, self.tokenizer, arpa, order)
        return hparams.joint_beam(hparams.model, self.tokenizer, **models)

    def _language_model(self):
        """The LM of another run's folder, which must have the same tokens."""
        folder = self.hparams.lm
        if folder is None:
            return None
        if load_tokenizer(Path(folder) / "tokenizer.json").pieces != self.tokenizer.pieces:
            raise UserError(f"lm: {folder} has other tokens than this ASR model; train it on the same")
        model, _ = load_trained(folder)
        if not isinstance(model, TransformerLM):
            raise UserError(f"lm: {folder} holds no language model, but a {type(model).__name__}")
        return model.to(self.device)

    def _augment(self, features, lengths):
        return self.hparams.fea_augment(features, lengths)[0]
