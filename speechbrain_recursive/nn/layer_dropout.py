"""Layer dropout: which logical steps a training run skips."""

from collections import Counter
from dataclasses import dataclass

import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.schedule import Schedule

Numbers = dict[tuple[int, int], float]  # by physical layer and how often it has run before


@dataclass(frozen=True)
class LayerDropout:
    """Skips each logical step with a probability of its own (stochastic depth, Huang et al., 2016).

    A step is skipped if a number between 0 and 1, drawn from PyTorch's generator, is not above its rate.
    In YAML::

        layer_dropout: !new:speechbrain_recursive.nn.layer_dropout.LayerDropout
            rate: 0.1

    Arguments
    ---------
    rate : float
        Of the last step.
    rising : bool
        Whether the rate of step i of L, counted from 1, is ``rate * i / L``, as in ESPnet's stochastic
        depth, or ``rate`` for all.
    shared : bool
        Whether the runs of one forward pass, such as Foldable's deepest one and its seed, have one
        number for the same pass through the same layer; otherwise each run draws its own.

    Raises
    ------
    UserError
        If the rate is not from 0 up to below 1.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import unfold
    >>> [round(rate, 3) for rate in LayerDropout(0.1).rates(4)]
    [0.025, 0.05, 0.075, 0.1]
    >>> sorted(LayerDropout(0.5).skipped(unfold(2, 3), {(0, 0): 0.1, (0, 1): 0.6, (1, 0): 0.4}))
    [0, 2]
    """

    rate: float
    rising: bool = True
    shared: bool = True

    def __post_init__(self):
        if not 0 <= self.rate < 1:
            raise UserError(f"layer_dropout: rate is from 0 up to below 1, not {self.rate!r}")

    def rates(self, steps: int) -> list[float]:
        """The rate of each step of a run."""
        return [self.rate * (step / steps if self.rising else 1.0) for step in range(1, steps + 1)]

    def skipped(self, schedule: Schedule, numbers: Numbers) -> frozenset[int]:
        """Decide which steps of a run are skipped.

        Arguments
        ---------
        schedule : Schedule
            What runs.
        numbers : dict
            What the runs of this forward pass have drawn so far; what is missing is drawn and added,
            unless each run draws its own.

        Returns
        -------
        frozenset of int
            Indices of steps.
        """
        if not self.rate:
            return frozenset()
        numbers = numbers if self.shared else {}
        passes, keys = Counter(), []
        for step in schedule:
            keys.append((step.layer, passes[step.layer]))
            passes[step.layer] += 1
        missing = [key for key in keys if key not in numbers]
        numbers.update(zip(missing, torch.rand(len(missing)).tolist(), strict=True))
        rates = self.rates(len(keys))
        return frozenset(index for index, key in enumerate(keys) if numbers[key] <= rates[index])
