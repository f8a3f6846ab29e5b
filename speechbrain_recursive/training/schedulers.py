"""Learning rates by optimizer step."""

import math

from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks


@register_checkpoint_hooks
class WarmupCosine:
    """Linear warm-up to a peak, then cosine decay to a fraction of it.

    Call it before every optimizer step, so that the first step is warmed up, too.

    Arguments
    ---------
    lr_initial : float
        The peak.
    n_warmup_steps : int
        Steps of warm-up.
    total_steps : int
        Steps until the floor, including warm-up.
    floor : float
        The final rate as a fraction of the peak.

    Raises
    ------
    ValueError
        If ``total_steps`` is not positive.

    Example
    -------
    >>> schedule = WarmupCosine(1.0, n_warmup_steps=2, total_steps=6, floor=0.0)
    >>> [round(schedule.at(step), 2) for step in range(1, 7)]
    [0.5, 1.0, 0.85, 0.5, 0.15, 0.0]
    """

    def __init__(self, lr_initial, n_warmup_steps, total_steps, floor=0.02):
        if total_steps is None or total_steps <= 0:
            raise ValueError(f"{type(self).__name__} needs the number of steps, not {total_steps}")
        self.peak = lr_initial
        self.warmup = n_warmup_steps
        self.total = total_steps
        self.floor = floor
        self.n_steps = 0

    def __call__(self, optimizer):
        """Set the learning rate of the optimizer's next step.

        Arguments
        ---------
        optimizer : torch.optim.Optimizer

        Returns
        -------
        float
            The rate before.
        float
            The rate after.
        """
        self.n_steps += 1
        before, after = optimizer.param_groups[0]["lr"], self.at(self.n_steps)
        for group in optimizer.param_groups:
            group["lr"] = after
        return before, after

    def at(self, step):
        """The rate at a step (float)."""
        if step <= self.warmup:
            return self.peak * step / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
        return self.peak * (self.floor + (1 - self.floor) * self.decay(progress))

    def decay(self, progress):
        """From 1 to 0, as the progress after the warm-up (float) goes from 0 to 1."""
        return 0.5 * (1 + math.cos(math.pi * progress))

    @mark_as_saver
    def save(self, path):
        """Write the step count to a file."""
        path.write_text(str(self.n_steps))

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Read the step count from a file."""
        del end_of_epoch
        self.n_steps = int(path.read_text())


@register_checkpoint_hooks
class LinearDecay(WarmupCosine):
    """Linear warm-up to a peak, then linear decay to a fraction of it; see :class:`WarmupCosine`.

    Example
    -------
    >>> schedule = LinearDecay(1.0, n_warmup_steps=2, total_steps=6)
    >>> [schedule.at(step) for step in range(1, 7)]
    [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """

    def __init__(self, lr_initial, n_warmup_steps, total_steps, floor=0.0):
        super().__init__(lr_initial, n_warmup_steps, total_steps, floor)

    def decay(self, progress):
        """From 1 to 0, as the progress after the warm-up (float) goes from 0 to 1."""
        return 1 - progress
