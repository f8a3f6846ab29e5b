"""The training loop takes the steps that it should, and no others."""

import math

import pytest
import torch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.utils.epoch_loop import EpochCounter

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.sampler import LengthBatchSampler
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.objectives.objective import Objective
from speechbrain_recursive.training.brain import Brain, Diverged
from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.progress import Pace
from speechbrain_recursive.training.schedulers import WarmupCosine
from speechbrain_recursive.training.task import Task


class Rows(Task):
    """A linear layer whose batches are rows of a matrix."""

    def limits(self, hparams):
        raise AssertionError("the loaders are given")

    def dataset(self, manifests, tokenizer, hparams):
        raise AssertionError("the loaders are given")

    def forward(self, batch, training):
        return self.model(batch)

    def amounts(self, batch):
        return {"rows": len(batch)}

    def reset(self):
        pass

    def observe(self, outputs, batch):
        pass

    def dev_error(self):
        return 1.0

    def report(self, loaders, command):
        raise AssertionError("nothing is reported")


class Notes:
    """A logger that keeps what it is given."""

    def __init__(self):
        self.lines = []

    def log_stats(self, stats_meta, **stages):
        self.lines.append({**stats_meta, **stages})

    def without_times(self):
        """The lines as text, to the last digit, once each."""
        times = ("seconds per step", "rows per second", "time left")
        lines = ({name: x for name, x in line.items() if name not in times} for line in self.lines)
        return list(dict.fromkeys(map(str, lines)))


class Toy(Brain):
    """Notes its weights after every step."""

    dies_at = None

    def fit_batch(self, batch):
        if self.optimizer_step == self.dies_at:
            raise InterruptedError
        return super().fit_batch(batch)

    def on_fit_start(self):
        super().on_fit_start()
        self.seen, self.rates, self.saved = [self.weights()], [], []

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.modules.parameters()])

    def optimizers_step(self):
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        super().optimizers_step()
        self.seen.append(self.weights())

    def _save_intra_epoch_ckpt(self):
        self.saved.append(self.step)
        super()._save_intra_epoch_ckpt()


class Squares(Objective):
    def forward(self, outputs, batch):
        loss = outputs.square().mean()
        return {"loss": loss, "squares": loss, "half": loss.detach() / 2}


class Scaled(Objective):
    """Has a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, outputs, batch):
        return {"loss": (self.scale * outputs).square().mean()}


class Nameless(Objective):
    def forward(self, outputs, batch):
        return {"squares": outputs.square().mean()}


def sgd(parameters, lr=1.0):
    return torch.optim.SGD(parameters, lr=lr)


@pytest.fixture
def rows():
    return torch.randn(7, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def train(tmp_path):
    """``train(rows, epochs=1, folder="run", ...)``: a Brain that was fitted, one row per batch."""

    def fit(
        rows,
        epochs=1,
        folder="run",
        opt_class=sgd,
        lr_scheduler=None,
        objective=None,
        notes=None,
        log_interval=None,
        dies_at=None,
        **run_opts,
    ):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
        sampler = LengthBatchSampler([1.0] * len(rows), max_seconds=1, shuffle=False)
        loader = SaveableDataLoader(rows, batch_sampler=sampler, generator=torch.Generator())
        counter = EpochCounter(epochs)
        hparams = {
            "task": Rows(),
            "model": model,
            "objective": objective or Squares(),
            "lr_scheduler": lr_scheduler or WarmupCosine(1.0, 0, 1, floor=1.0),
            "epoch_counter": counter,
            "keep_checkpoints": 1,
            "train_loggers": [notes] if notes else [],
            "log_interval": log_interval,
        }
        brain = Toy(
            None,
            modules={"model": model},
            opt_class=opt_class,
            hparams=hparams,
            run_opts={"device": "cpu", "noprogressbar": True, "max_grad_norm": -1.0, **run_opts},
            checkpointer=AtomicCheckpointer(tmp_path / folder, {"model": model, "loader": loader}),
        )
        brain.train_sampler, brain.dies_at = sampler, dies_at
        brain.fit(counter, loader, SaveableDataLoader(rows[:1]))
        return brain

    return fit


def by_hand(start, groups):
    """Weights [P] after SGD steps of rate 1 on the mean gradient of each group of rows."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    torch.nn.utils.vector_to_parameters(start.clone(), model.parameters())
    found = [start]
    for group in groups:
        losses = [model(row[None]).square().mean() for row in group]
        gradients = torch.autograd.grad(torch.stack(losses).mean(), list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= gradient
        found.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone())
    return found


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 10])
def test_accumulated_batches_make_the_mean_gradient_and_none_is_dropped(train, rows, factor):
    brain = train(0.1 * rows, grad_accumulation_factor=factor)
    groups = (0.1 * rows).split(factor)
    assert brain.optimizer_step == len(groups)
    torch.testing.assert_close(brain.seen, by_hand(brain.seen[0], groups))


def test_the_next_epoch_starts_a_group_of_its_own(train, rows):
    brain = train(0.1 * rows, epochs=2, grad_accumulation_factor=3)
    groups = (0.1 * rows).split(3)
    torch.testing.assert_close(brain.seen, by_hand(brain.seen[0], [*groups, *groups]))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_batch_that_is_no_number_costs_its_step_and_nothing_else(train, rows, bad):
    rows = 0.1 * rows
    broken = rows.clone()
    broken[3, 1] = bad
    brain = train(broken, grad_accumulation_factor=2)
    assert brain.skipped_steps == 1
    assert brain.optimizer_step == 4
    assert torch.equal(brain.seen[1], brain.seen[2])
    first, _, third, last = rows.split(2)
    expected = by_hand(brain.seen[0], [first, third, last])
    torch.testing.assert_close([brain.seen[i] for i in (0, 1, 3, 4)], expected)


def test_skipped_steps_are_counted_over_a_resume(train, rows):
    rows = rows.clone()
    rows[3] = torch.nan
    assert train(0.1 * rows, epochs=1).skipped_steps == 1
    brain = train(0.1 * rows, epochs=2)
    assert brain.skipped_steps == brain.train_stats["skipped steps"] == 2
    assert math.isfinite(brain.train_stats["squares"])


def test_too_many_of_them_end_the_training(train):
    with pytest.raises(Diverged, match="nonfinite_patience"):
        train(torch.full((7, 3), torch.nan))


def test_clipping_covers_all_parameter_groups(train, rows):
    def two_groups(parameters):
        first, *others = parameters
        return sgd([{"params": [first]}, {"params": others}])

    brain = train(100 * rows[:1], opt_class=two_groups, max_grad_norm=0.5)
    step = brain.seen[1] - brain.seen[0]
    assert step.norm() == pytest.approx(0.5, rel=1e-4)
    full = by_hand(brain.seen[0], [100 * rows[:1]])[1] - brain.seen[0]
    assert torch.nn.functional.cosine_similarity(step, full, dim=0) == pytest.approx(1.0)
    assert (step[:6] != 0).any()
    assert (step[6:] != 0).any()


def test_a_negative_limit_leaves_gradients_alone(train, rows):
    brain = train(100 * rows[:1], max_grad_norm=-1.0)
    torch.testing.assert_close(brain.seen, by_hand(brain.seen[0], [100 * rows[:1]]))


def test_the_first_step_is_warmed_up(train, rows):
    schedule = WarmupCosine(0.1, n_warmup_steps=3, total_steps=7, floor=0.0)
    brain = train(rows, lr_scheduler=schedule)
    assert brain.rates == pytest.approx([schedule.at(step) for step in range(1, 8)])


@pytest.mark.parametrize(("limit", "factor"), [(5, 1), (7, 1), (9, 1), (5, 2)])
def test_a_budget_of_steps_is_spent_exactly_and_only_once(train, rows, limit, factor):
    options = {"optimizer_step_limit": limit, "grad_accumulation_factor": factor}
    brain = train(0.1 * rows, epochs=10, **options)
    assert brain.optimizer_step == len(brain.seen) - 1 == limit
    assert brain.total_steps == limit
    again = train(0.1 * rows, epochs=10, **options)
    assert again.optimizer_step == limit
    assert len(again.seen) == 1
    assert again.hparams.epoch_counter.current == brain.hparams.epoch_counter.current
    assert torch.equal(again.weights(), brain.weights())


def test_epochs_that_end_before_the_budget_are_said(train, rows, caplog):
    train(0.1 * rows, epochs=2, optimizer_step_limit=1000)
    assert "number_of_steps is 1000, but 2 epochs hold about" in caplog.text
    caplog.clear()
    train(0.1 * rows, epochs=2, folder="b", optimizer_step_limit=2)
    assert "number_of_steps" not in caplog.text


def test_a_larger_budget_goes_on_where_the_smaller_ended(train, rows):
    whole = train(0.1 * rows, epochs=2, folder="whole")
    train(0.1 * rows, epochs=1)
    assert torch.equal(train(0.1 * rows, epochs=2).weights(), whole.weights())


def test_checkpoints_within_an_epoch_fall_on_steps(train, rows):
    brain = train(0.1 * rows, grad_accumulation_factor=2, ckpt_interval_steps=1)
    assert brain.saved == [2, 4, 6]  # the seventh batch ends the epoch, which is saved after validation
    brain = train(0.1 * rows, folder="b", ckpt_interval_steps=1, optimizer_step_limit=3)
    assert brain.saved == [1, 2]


def test_an_objectives_parameters_are_trained_and_resumed(train, rows):
    objectives = [Scaled() for _ in range(3)]
    whole = train(0.1 * rows, epochs=2, folder="whole", objective=objectives[0])
    assert float(objectives[0].scale) != 1
    train(0.1 * rows, epochs=1, objective=objectives[1])
    resumed = train(0.1 * rows, epochs=2, objective=objectives[2])
    assert torch.equal(objectives[2].scale, objectives[0].scale)
    assert torch.equal(resumed.weights(), whole.weights())
    (saved, *_) = whole.checkpointer.list_checkpoints()
    assert list(torch.load(saved.paramfiles["objective"])) == ["scale"]
    assert not [key for key in torch.load(saved.paramfiles["model"]) if "scale" in key]


def test_an_objective_without_a_total_is_refused(train, rows):
    with pytest.raises(UserError, match="returns no 'loss', only squares"):
        train(rows, objective=Nameless())


def test_a_line_every_so_many_optimizer_steps(train, rows):
    notes = Notes()
    brain = train(
        0.1 * rows,
        epochs=3,
        notes=notes,
        log_interval=5,
        grad_accumulation_factor=2,
        lr_scheduler=WarmupCosine(0.5, 4, 12),
    )
    lines = [line for line in notes.lines if "valid_stats" not in line]
    assert [(line["epoch"], line["step"]) for line in lines] == [(2, 5), (3, 10)]
    assert [line["lr"] for line in lines] == [brain.rates[4], brain.rates[9]]
    for line in lines:
        assert list(line)[:5] == ["epoch", "step", "lr", "loss", "squares"]
        assert line["seconds per step"] > 0
        assert line["rows per second"] > 0
        assert line["time left"].total_seconds() >= 0
    epochs = [line for line in notes.lines if "valid_stats" in line]
    assert [(line["epoch"], line["step"]) for line in epochs] == [(1, 4), (2, 8), (3, 12)]
    assert notes.lines.index(lines[0]) == 1


def test_the_means_of_a_line_are_those_since_the_last_one(train, rows):
    rows, notes = 0.1 * rows, Notes()
    brain = train(rows, notes=notes, log_interval=2, grad_accumulation_factor=2)
    expected, norms = [], []
    for weights, group in zip(brain.seen, rows.split(2), strict=False):
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
        torch.nn.utils.vector_to_parameters(weights.clone(), model.parameters())
        losses = [model(row[None]).square().mean() for row in group]
        expected += [float(loss) for loss in losses]
        gradient = torch.autograd.grad(torch.stack(losses).mean(), list(model.parameters()))
        norms.append(float(torch.cat([part.flatten() for part in gradient]).norm()))
    lines = [line for line in notes.lines if "valid_stats" not in line]
    assert [line["loss"] for line in lines] == pytest.approx(
        [sum(expected[:4]) / 4, sum(expected[4:]) / 3]
    )
    assert [line["half"] for line in lines] == pytest.approx([line["loss"] / 2 for line in lines])
    assert [line["gradient norm"] for line in lines] == pytest.approx(
        [sum(norms[:2]) / 2, sum(norms[2:]) / 2]
    )
    (epoch,) = (line for line in notes.lines if "valid_stats" in line)
    assert epoch["train_stats"]["squares"] == pytest.approx(sum(expected) / 7)


def test_without_an_interval_there_are_lines_of_epochs_alone(train, rows):
    notes = Notes()
    train(0.1 * rows, epochs=2, notes=notes)
    assert [line["step"] for line in notes.lines] == [7, 14]


@pytest.mark.parametrize("wrong", [0, -3, "often", 2.5])
def test_an_interval_that_is_no_number_of_steps(train, rows, wrong):
    with pytest.raises(UserError, match="log_interval is a number of optimizer steps, or null, not"):
        train(rows, log_interval=wrong)


@pytest.mark.parametrize(("dies_at", "factor"), [(5, 1), (10, 1), (13, 1), (6, 2)])
def test_a_resume_changes_no_line(train, rows, dies_at, factor):
    rows = rows.repeat(2, 1) * torch.logspace(-1, -2, 14)[:, None]
    options = {
        "epochs": 2,
        "log_interval": 3,
        "grad_accumulation_factor": factor,
        "ckpt_interval_steps": 2 * factor,
    }
    whole, killed = Notes(), Notes()
    train(rows, folder="whole", notes=whole, **options)
    with pytest.raises(InterruptedError):
        train(rows, notes=killed, dies_at=dies_at, **options)
    brain = train(rows, notes=killed, **options)
    assert brain.saved, "it was resumed within the epoch"
    assert len(whole.lines) == brain.optimizer_step // 3 + 2
    assert killed.without_times() == whole.without_times()


def test_the_time_left_is_that_of_the_whole_budget(train, rows, monkeypatch):
    """One second a step, on a clock that steps turn."""
    now = [0.0]
    monkeypatch.setattr(Pace.__init__, "__defaults__", (lambda: now[0],))
    step = Toy.optimizers_step

    def turning(self):
        now[0] += 1.0
        step(self)

    monkeypatch.setattr(Toy, "optimizers_step", turning)
    for limit, folder in ((None, "epochs"), (10, "steps")):
        notes = Notes()
        train(
            0.1 * rows, epochs=4, folder=folder, notes=notes, log_interval=4, optimizer_step_limit=limit
        )
        left = [line["time left"].total_seconds() for line in notes.lines if "time left" in line]
        assert left == [(limit or 28) - step for step in range(4, (limit or 28) + 1, 4)]


def test_the_bar_counts_the_whole_budget(train, rows, monkeypatch):
    bars = []

    class Seen(Bar):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            bars.append(self)

    monkeypatch.setattr("speechbrain_recursive.training.brain.Bar", Seen)
    with pytest.raises(InterruptedError):
        train(0.1 * rows, epochs=3, ckpt_interval_steps=1, dies_at=9)
    train(0.1 * rows, epochs=3)
    first, second = bars
    assert (first.total, second.total) == (21, 21)
    assert second.initial == 9
