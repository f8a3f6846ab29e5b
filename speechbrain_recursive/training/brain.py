"""The one Brain of every recipe. What differs between papers is composed in YAML."""

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger

from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.training.rng import RandomState

logger = get_logger(__name__)


class Brain(sb.Brain):
    """Trains a recogniser on a weighted sum of objectives, at loop counts drawn for each step.

    Reads from the hyperparameters: ``objective``, ``loop_policy``, ``lr_scheduler``,
    ``fea_augment``, ``dynamic_chunks``, ``epoch_counter``, ``keep_checkpoints`` and the train
    loggers that :func:`speechbrain_recursive.training.run.run` has made.

    Arguments
    ---------
    tokeniser : object
        See :mod:`speechbrain_recursive.data.tokenisers`.
    **kwargs
        The stock Brain's arguments.
    """

    def __init__(self, tokeniser, **kwargs):
        super().__init__(**kwargs)
        self.tokeniser = tokeniser
        self.skipped_steps = 0
        self.rng = RandomState()
        if self.checkpointer is not None:
            self.checkpointer.add_recoverables(
                {
                    "rng": self.rng,
                    "epoch_counter": self.hparams.epoch_counter,
                    "lr_scheduler": self.hparams.lr_scheduler,
                }
            )

    def compute_forward(self, batch, stage):
        """Run the model: drawn loops and augmentation in training, the trained loop count otherwise."""
        batch = batch.to(self.device)
        wavs, wav_lens = batch.sig
        training = stage == sb.Stage.TRAIN
        return self.modules.model(
            wavs,
            wav_lens,
            tokens_bos=batch.tokens_bos.data if self.tokeniser.bos is not None else None,
            loops=self._draw_loops(wavs, wav_lens) if training else self.hparams.loop_policy.trained,
            augment=self._augment if training and self.hparams.fea_augment else None,
            dynchunktrain_config=self._draw_chunks(stage),
            epoch=self.hparams.epoch_counter.current,
        )

    def compute_objectives(self, outputs, batch, stage):
        """Weigh the objectives; in validation also count errors of greedy decoding."""
        total, parts = self.hparams.objective(outputs, batch)
        for name, value in parts.items():
            self.losses.setdefault(name, []).append(value.detach())
        if stage == sb.Stage.VALID:
            for uid, ids, words in zip(batch.id, greedy(outputs.log_probs, outputs.frames), batch.wrd):
                self.hypotheses.append((uid, words.split(), self.tokeniser.decode(ids).split()))
        return total

    def on_stage_start(self, stage, epoch=None):
        """Start the counts of a stage."""
        self.losses = {}
        self.hypotheses = []

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log; after validation, save a checkpoint with its error at the trained loop count."""
        stats = {"loss": float(stage_loss)}
        stats.update({name: float(torch.stack(some).mean()) for name, some in self.losses.items()})
        if stage == sb.Stage.TRAIN:
            self.train_stats = {**stats, "skipped steps": self.skipped_steps}
            return
        stats["WER"] = error_rate(self.hypotheses).wer
        if if_main_process():
            for train_logger in self.hparams.train_loggers:
                train_logger.log_stats(
                    {"epoch": epoch, "step": self.optimizer_step, "lr": self._lr()},
                    train_stats=self.train_stats,
                    valid_stats=stats,
                )
        if self.checkpointer is not None:
            self.checkpointer.save_and_keep_best(
                {"WER": stats["WER"], "epoch": epoch}, min_key="WER", keep=self.hparams.keep_checkpoints
            )

    def fit(self, epoch_counter, train_set, *args, **kwargs):
        """Train for all epochs, or until the budget of steps is spent."""
        steps = -(-len(train_set) // self.grad_accumulation_factor) * epoch_counter.limit
        self.total_steps = min(steps, self.optimizer_step_limit or steps)
        super().fit(epoch_counter, train_set, *args, **kwargs)

    def on_fit_start(self):
        """Resume; a training whose budget of steps is spent runs no further epoch."""
        super().on_fit_start()
        if self._optimizer_step_limit_exceeded:
            self.hparams.epoch_counter.limit = self.hparams.epoch_counter.current

    def fit_batch(self, batch):
        """One batch; unlike the stock method, the last group of an epoch may be incomplete."""
        size = self.grad_accumulation_factor
        last = self.step == self.epoch_batches
        group = (self.epoch_batches - 1) % size + 1 if self._in_last_group() else size
        should_step = last or self.step % size == 0
        with self.no_sync(not should_step):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            scaled = self.scaler.scale(loss / group)
            self.check_loss_isfinite(scaled)
            scaled.backward()
        if should_step:
            self.optimizers_step()
            self.hparams.lr_scheduler(self.optimizer)
        return loss.detach().cpu()

    def optimizers_step(self):
        """Clip over all parameters and step, unless a gradient is not finite: that is counted."""
        self.scaler.unscale_(self.optimizer)
        limit = self.max_grad_norm if self.max_grad_norm > 0 else torch.inf
        norm = torch.nn.utils.clip_grad_norm_(self.modules.parameters(), limit)
        finite = bool(torch.isfinite(norm))
        if finite or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
        if not finite:
            self.skipped_steps += 1
            logger.warning(f"Step {self.optimizer_step + 1}: a gradient is not finite; step skipped")
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer_step += 1

    def _fit_train(self, train_set, epoch, enable):
        self.epoch_batches = len(train_set)
        super()._fit_train(train_set, epoch, enable)

    def _in_last_group(self):
        size = self.grad_accumulation_factor
        return (self.step - 1) // size == (self.epoch_batches - 1) // size

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        """Only where no gradient is being accumulated, and where there is more of the epoch to come."""
        between = self.step % self.grad_accumulation_factor == 0 and self.step < self.epoch_batches
        return between and super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)

    def _draw_loops(self, wavs, wav_lens):
        seconds = wav_lens * wavs.shape[1] / self.hparams.sample_rate
        return self.hparams.loop_policy(
            step=self.optimizer_step, total_steps=self.total_steps, seconds=seconds
        )

    def _augment(self, features, lengths):
        return self.hparams.fea_augment(features, lengths)[0]

    def _draw_chunks(self, stage):
        return self.hparams.dynamic_chunks(stage) if self.hparams.dynamic_chunks else None

    def _lr(self):
        return self.optimizer.param_groups[0]["lr"]
