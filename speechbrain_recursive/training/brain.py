"""The one training loop of every recipe. What differs between papers is composed in YAML."""

import time

import speechbrain as sb
import torch
import yaml
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import if_main_process, main_process_only
from speechbrain.utils.logger import get_logger

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.training.progress import Means, Pace
from speechbrain_recursive.training.rng import RandomState
from speechbrain_recursive.training.stopping import Stopped, StopRequest

logger = get_logger(__name__)


class Diverged(Exception):
    """The loss of a training is not a number any more, so that the training cannot go on."""


class Step(torch.nn.ModuleDict):
    """One training step from batch to losses, as one module with all that is trained.

    DistributedDataParallel then sees the loss alone. If it saw the model's outputs, or losses of weight
    0, it would wait for gradients that never come.
    """

    def forward(self, batch, task, training):
        """Losses by name, and the outputs, or None in training."""
        outputs = task.forward(batch, training)
        losses = self["objective"](outputs, batch)
        losses = {name: x if name == "loss" else x.detach() for name, x in losses.items()}
        return losses, None if training else outputs


@register_checkpoint_hooks
class Brain(sb.Brain):
    """SpeechBrain's Brain, which runs a task under an objective and resumes exactly.

    Of the hyperparameters it reads ``task``, ``objective``, ``lr_scheduler``, ``epoch_counter``,
    ``keep_checkpoints``, ``train_loggers`` and ``log_interval``. The task says what the model is given
    and how the dev error is counted, see :class:`~speechbrain_recursive.training.task.Task`. The
    objective's own parameters are trained with the model's and saved beside them.

    Every ``log_interval`` optimizer steps and at the end of every epoch, the loggers get a line. Under
    DDP its losses and its pace are those of the main process's batches.

    Arguments
    ---------
    tokenizer : object
        See :mod:`speechbrain_recursive.data.tokenizers`.
    modules : dict of str to torch.nn.Module
        What is trained besides the objective; ``model`` is one of them.
    hparams : dict
        Hyperparameters.
    **kwargs
        The stock Brain's arguments.
    """

    def __init__(self, tokenizer, modules, hparams, **kwargs):
        objective = hparams["objective"]
        step = Step({**modules, "objective": objective})
        super().__init__(modules={"step": step}, hparams=hparams, **kwargs)
        self.tokenizer = tokenizer
        self.task = self.hparams.task
        self.skipped_steps, self._seconds_before, self._started = 0, 0.0, None
        self.stop = StopRequest()
        interval = self.hparams.log_interval
        if interval is not None and (not isinstance(interval, int) or interval < 1):
            raise UserError(f"log_interval is a number of optimizer steps, or null, not {interval!r}")
        self.of_stage, self.of_interval = Means(), Means()
        # For DDP: a step may skip a hook, a head or the projection of another stage.
        self.find_unused_parameters = True
        if self.checkpointer is not None:
            names = ["epoch_counter", "lr_scheduler", *(["objective"] if objective.state_dict() else [])]
            parts = {name: getattr(self.hparams, name) for name in names}
            self.checkpointer.add_recoverables({"rng": RandomState(), **parts})
        self.task.setup(self)

    def compute_forward(self, batch, stage):
        """Run the task and the objective: losses by name, and the outputs except in training."""
        return self.modules.step(batch, self.task, training=stage == sb.Stage.TRAIN)

    def compute_objectives(self, results, batch, stage):
        """The objective's total; in validation the task observes the batch as well."""
        losses, outputs = results
        if "loss" not in losses:
            raise UserError(f"the objective returns no 'loss', only {', '.join(losses)}: use Joint")
        parts = {name: value for name, value in losses.items() if name != "loss"}
        self.of_stage.add(parts)
        if stage == sb.Stage.VALID:
            self.task.observe(outputs, batch)
        else:
            self.of_interval.add({"loss": losses["loss"].detach(), **parts})
        return losses["loss"]

    def on_stage_start(self, stage, epoch=None):
        """Start the counts of a stage; those of its losses may go on from a checkpoint."""
        self.task.reset()
        self.bar.set_description(f"epoch {epoch}, {stage.name.lower()}")
        if stage == sb.Stage.TRAIN:
            self.hparams.objective.start_epoch(epoch)
            self.pace.start()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log; after validation, save a checkpoint and keep the best ones."""
        stats = {"loss": float(stage_loss), **self.of_stage.read()}
        if stage == sb.Stage.TRAIN:
            self.pace.stop()
            self.train_stats = {**stats, "skipped steps": self.skipped_steps}
            return
        name = self.task.error_name
        error = stats[name] = self.task.dev_error()
        self._log({}, train_stats=self.train_stats, valid_stats=stats)
        self.checkpointer.save_and_keep_best(
            {name: error, "epoch": epoch}, min_key=name, keep=self.hparams.keep_checkpoints
        )
        self._stop_if_asked()

    @main_process_only
    def _log(self, stats, **stages):
        progress = {
            "epoch": self.hparams.epoch_counter.current,
            "step": self.optimizer_step,
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        for train_logger in self.hparams.train_loggers:
            train_logger.log_stats({**progress, **stats}, **stages)

    def fit(self, epoch_counter, train_set, *args, **kwargs):
        """Train for all epochs, or until the budget of steps is spent."""
        steps = -(-len(train_set) // self.grad_accumulation_factor) * epoch_counter.limit
        limit = self.optimizer_step_limit or steps
        if steps < limit:
            logger.warning(
                f"number_of_steps is {limit}, but {epoch_counter.limit} epochs hold about {steps}: a "
                "learning rate that falls until then will not reach its end"
            )
        self.total_steps = min(steps, limit)
        off = self.noprogressbar or not if_main_process()
        with Bar(total=self.total_steps, unit=" steps", smoothing=0, disable=off) as self.bar:
            super().fit(epoch_counter, train_set, *args, **kwargs, progressbar=False)
        self._seconds_before, self._started = self.training_seconds, None

    def on_fit_start(self):
        """Resume; a training whose budget of steps is spent runs no further epoch."""
        super().on_fit_start()
        self._started = time.monotonic()
        self.bar.initial = self.bar.n = self.optimizer_step
        self.pace = Pace(self.optimizer_step, self.total_steps)
        self.hparams.objective.start_epoch(max(1, self.hparams.epoch_counter.current))
        if self._optimizer_step_limit_exceeded:
            self.hparams.epoch_counter.limit = self.hparams.epoch_counter.current

    def fit_batch(self, batch):
        """One batch; unlike in the stock method, the last group of an epoch may be incomplete."""
        size = self.grad_accumulation_factor
        in_last_group = (self.step - 1) // size == (self.epoch_batches - 1) // size
        group = (self.epoch_batches - 1) % size + 1 if in_last_group else size
        should_step = self.step % size == 0 or self.step == self.epoch_batches
        self.pace.add(self.task.amounts(batch))
        with self.no_sync(not should_step):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            scaled = self.scaler.scale(loss / group)
            self.check_loss_isfinite(scaled)
            scaled.backward()
        if should_step:
            self.hparams.lr_scheduler(self.optimizer)
            self.optimizers_step()
        return loss.detach().cpu()

    def check_loss_isfinite(self, loss):
        """Count losses that are not finite; too many in one epoch mean that training diverges."""
        try:
            super().check_loss_isfinite(loss)
        except ValueError as error:
            raise Diverged(
                f"{self.nonfinite_count} losses were not finite in the epoch of step "
                f"{self.optimizer_step + 1} (nonfinite_patience: {self.nonfinite_patience})"
            ) from error

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
        self.of_interval.add({"gradient norm": norm})
        self.bar.set_postfix(loss=f"{self.avg_train_loss:.4g}", refresh=False)
        self.bar.update()
        interval = self.hparams.log_interval
        if interval and self.optimizer_step % interval == 0:
            self._log({**self.of_interval.read(), **self.pace.read(self.optimizer_step)})

    @property
    def training_seconds(self):
        """Time spent in training and validation, in all runs that led to these weights."""
        return self._seconds_before + (time.monotonic() - self._started if self._started else 0.0)

    @mark_as_saver
    def _save(self, path):
        super()._save(path)
        counts = {
            "skipped_steps": self.skipped_steps,
            "training_seconds": self.training_seconds,
            "of_stage": self.of_stage.state(),
            "of_interval": self.of_interval.state(),
        }
        with open(path, "a", encoding="utf-8") as state:
            state.write(yaml.dump(counts, sort_keys=False))

    @mark_as_loader
    def _recover(self, path, end_of_epoch):
        super()._recover(path, end_of_epoch)
        state = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.skipped_steps = state["skipped_steps"]
        self._seconds_before = state["training_seconds"]
        self.of_stage.load(state["of_stage"])
        self.of_interval.load(state["of_interval"])

    def _fit_train(self, train_set, epoch, enable):
        self.train_sampler.set_epoch(epoch)  # before its length is read, which changes by epoch
        self.epoch_batches = len(train_set)
        super()._fit_train(train_set, epoch, enable)

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        """Not while a gradient is being accumulated, and not where validation comes next."""
        between = self.step % self.grad_accumulation_factor == 0 and self.step < self.epoch_batches
        if not between or self._optimizer_step_limit_exceeded:
            return False
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return due or bool(self.stop.received())

    def _save_intra_epoch_ckpt(self):
        super()._save_intra_epoch_ckpt()
        self._stop_if_asked()

    def _stop_if_asked(self):
        if number := self.stop.received():
            raise Stopped(number, self.optimizer_step)
