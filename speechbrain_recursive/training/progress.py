"""How a training goes: means of its losses, its pace, and the time that is left."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch


class Means:
    """Running means of numbers by name.

    Sums run from the first number to the last, in float64, so that they do not depend on when they are
    read or saved. Until then tensors are kept, a thousand at most, so that adding one does not wait for
    a GPU. Numbers that are not finite are left out, as SpeechBrain leaves them out of its loss.

    Example
    -------
    >>> means = Means()
    >>> for loss in (1.0, float("nan"), 4.0):
    ...     means.add({"ctc": torch.tensor(loss)})
    >>> resumed = Means()
    >>> resumed.load(means.state())
    >>> resumed.read()
    {'ctc': 2.5}
    """

    def __init__(self):
        self._sums, self._pending = {}, {}

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Count scalars without gradient."""
        for name, value in values.items():
            kept = self._pending.setdefault(name, [])
            kept.append(value)
            if len(kept) == 1000:
                self.state()

    def state(self) -> dict[str, list]:
        """Sum and count of each name, as YAML can hold them."""
        for name, values in self._pending.items():
            total, count = self._sums.get(name, (0.0, 0))
            for value in torch.stack(values).tolist():
                if math.isfinite(value):
                    total, count = total + value, count + 1
            self._sums[name] = [total, count]
        self._pending = {}
        return {name: list(sums) for name, sums in self._sums.items()}

    def load(self, state: Mapping[str, list]) -> None:
        """Go on from what :meth:`state` gave."""
        self._sums, self._pending = {name: list(sums) for name, sums in state.items()}, {}

    def read(self) -> dict[str, float]:
        """The means so far, NaN where no number was finite; the next one starts anew."""
        state = self.state()
        self._sums = {}
        return {name: total / count if count else math.nan for name, (total, count) in state.items()}


class Pace:
    """Seconds per training step, and the time that is left until the last one.

    Arguments
    ---------
    step : int
        Optimizer steps made before.
    total_steps : int
        Those of the whole training.
    clock : callable
        Seconds from any moment on.

    Example
    -------
    >>> seconds = iter([0, 1, 5, 5, 9, 13, 13])
    >>> pace = Pace(step=0, total_steps=10, clock=lambda: next(seconds))
    >>> pace.start()  # after 1 s
    >>> pace.stop()  # 5 s: validation follows
    >>> pace.start()
    >>> pace.add({"audio seconds": 40.0})
    >>> {name: str(value) for name, value in pace.read(step=2).items()}
    {'seconds per step': '4.0', 'audio seconds per second': '5.0', 'time left': '0:00:52'}
    """

    def __init__(self, step: int, total_steps: int, clock: Callable[[], float] = time.monotonic):
        self.total_steps, self.clock = total_steps, clock
        self.first, self.begin = step, clock()
        self._restart(step)

    def start(self) -> None:
        """Training begins, or goes on."""
        self._since = self.clock()

    def stop(self) -> None:
        """Something else begins, which does not count as training."""
        self._seconds += self.clock() - self._since

    def add(self, amounts: Mapping[str, float]) -> None:
        """Count what a batch holds, by unit."""
        for unit, amount in amounts.items():
            self._amounts[unit] = self._amounts.get(unit, 0.0) + amount

    def read(self, step: int) -> dict[str, Any]:
        """The pace since the last reading, and the time left at the pace since the first step.

        The time left is a ``timedelta``. It counts all that the process did, validation included.
        """
        self.stop()
        seconds, amounts, steps = self._seconds, self._amounts, step - self._last
        self._restart(step)
        self.start()
        left = (self.clock() - self.begin) / (step - self.first) * max(0, self.total_steps - step)
        return {
            "seconds per step": seconds / steps,
            **{f"{unit} per second": amount / seconds for unit, amount in amounts.items()},
            "time left": timedelta(seconds=round(left)),
        }

    def _restart(self, step):
        self._last, self._seconds, self._amounts = step, 0.0, {}
