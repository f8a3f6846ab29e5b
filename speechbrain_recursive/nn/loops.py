"""How deep each training step and each utterance goes, as values.

A policy turns the model's schedule into the :class:`Depth` of a batch. The schedule says how deep the
model is; a policy without options runs it as it is. Depths are the same on every rank of a distributed
run and in a run that was resumed, since draws depend on the seed and the step alone.
"""

import math
from collections.abc import Sequence

import numpy as np

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import Schedule

Count = int | tuple[int, ...]


class LoopPolicy:
    """Runs the schedule as it is; base class of the policies that do otherwise.

    A subclass overrides :meth:`count` and, if training makes other counts than the schedule's,
    :meth:`trains`.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> str(LoopPolicy()(cycle(2, 5), step=0, total_steps=100, seconds=[1.0]))
    '5'
    """

    def __call__(
        self, schedule: Schedule, step: int, total_steps: int, seconds: Sequence[float]
    ) -> Depth:
        """The depth of a training step.

        Arguments
        ---------
        schedule : Schedule
            The model's own.
        step : int
            Training steps made so far, over all epochs.
        total_steps : int
            Training steps of the whole run.
        seconds : sequence of float
            Duration of each utterance [B], in seconds.
        """
        return self._depth(schedule, seconds, (step, total_steps))

    def rehearse(self, schedule: Schedule) -> list[Depth]:
        """The depths that a training of a thousand steps would make, each once."""
        steps = range(1000)
        made = (self._depth(schedule, [0.0, 1e9], (step, len(steps))) for step in steps)
        return list(dict.fromkeys(made))

    def at_inference(self, schedule: Schedule, seconds: Sequence[float]) -> Depth:
        """The depth of a batch in evaluation; see :meth:`__call__`."""
        return self._depth(schedule, seconds, None)

    def supervises(self, schedule: Schedule, depth: Depth) -> bool:
        """Whether a depth has a loss in training."""
        theirs = depth.schedule.loops
        if theirs.keys() != schedule.loops.keys() or depth.schedule != schedule.with_loops(**theirs):
            return False
        return all(self.trains(name, n, theirs[name]) for name, n in schedule.loops.items())

    def label(self, schedule: Schedule) -> str:
        """How reports name the depth at inference, from the shortest utterance to the longest."""
        return str(self.at_inference(schedule, [0.0, 1e9]))

    def count(
        self, block: str, loops: int, seconds: Sequence[float], progress: tuple[int, int] | None
    ) -> Count:
        """Loops of one block, for all rows or per row.

        Arguments
        ---------
        block : str
            Its name.
        loops : int
            What the schedule says.
        seconds : sequence of float
            Duration of each utterance [B], in seconds.
        progress : tuple of (int, int), optional
            Step and total steps of training; None in evaluation.
        """
        return loops

    def trains(self, block: str, loops: int, count: int) -> bool:
        """Whether training makes ``count`` loops of a block, of which the schedule makes ``loops``."""
        return count == loops

    def _depth(self, schedule, seconds, progress):
        found = {name: self.count(name, n, seconds, progress) for name, n in schedule.loops.items()}
        return Depth.of(schedule, found)


class Proportional(LoopPolicy):
    """A count per utterance, proportional to its duration: "Rethinking Depth", Length strategy.

    ``ceil(L * seconds / max_seconds)``, held between 1 and the schedule's L. The paper gives the range,
    1 to L in proportion to the duration (Eq. 4); the formula is our choice.

    Arguments
    ---------
    max_seconds : float
        Duration from which on utterances make all loops.

    Raises
    ------
    UserError
        If ``max_seconds`` is not positive.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> Proportional(max_seconds=20.0).at_inference(cycle(4, 20), [0.3, 4.5, 30.0]).by_row("recurrent")
    (1, 5, 20)
    """

    def __init__(self, max_seconds: float):
        if not max_seconds > 0:
            raise UserError(f"max_seconds must be positive, got {max_seconds!r}")
        self.max_seconds = max_seconds

    def count(self, block, loops, seconds, progress):
        """A count per utterance, the same in training as in evaluation."""
        # Dividing first would round whole numbers of seconds past whole counts.
        return tuple(
            min(max(math.ceil(loops * float(each) / self.max_seconds), 1), loops) for each in seconds
        )

    def trains(self, block, loops, count):
        """Every count up to L, if there are utterances short enough for it."""
        return count <= loops


class Growing(LoopPolicy):
    """From 1 to ``most`` loops over training, in equal parts: "Rethinking Depth", Schedule strategy.

    The paper gives the two ends (Eq. 5); that each count lasts equally long is our choice.

    Arguments
    ---------
    most : int, optional
        The count of the last part of training; the schedule's by default. Evaluation makes the
        schedule's loops in any case.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> [Growing(20)(cycle(4, 5), step, 1000, None).loops for step in (0, 49, 50, 500, 999)]
    [1, 1, 2, 11, 20]
    """

    def __init__(self, most: int | None = None):
        self.most = most if most is None else _count("most", most)

    def count(self, block, loops, seconds, progress):
        """A count for the whole batch."""
        if progress is None:
            return loops
        (step, total_steps), most = progress, self.most or loops
        return min(most, 1 + most * step // total_steps)

    def trains(self, block, loops, count):
        """Every count up to ``most``."""
        return count <= (self.most or loops)


class LogNormalPoisson(LoopPolicy):
    """Drawn anew at each step, with a heavy tail (Geiping et al., 2025, section 3.3).

    ``tau ~ N(log(L) - sigma^2 / 2, sigma)``, then ``loops ~ Poisson(exp(tau)) + 1``, where L is the
    schedule's count.

    Arguments
    ---------
    sigma : float
        Standard deviation of the logarithm.
    most : int, optional
        Upper limit, to bound memory.
    seed : int
        Draws are a function of the seed and the step.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> draw = LogNormalPoisson(seed=1)
    >>> draw(cycle(2, 5), 7, 100, None) == draw(cycle(2, 5), 7, 100, None)
    True
    """

    def __init__(self, sigma: float = 0.5, most: int | None = None, seed: int = 0):
        self.most = most if most is None else _count("most", most)
        self.sigma = sigma
        self.seed = seed

    def count(self, block, loops, seconds, progress):
        """A count for the whole batch."""
        if progress is None:
            return loops
        rng = np.random.default_rng((self.seed, progress[0]))
        tau = rng.normal(np.log(loops) - self.sigma**2 / 2, self.sigma)
        drawn = int(rng.poisson(np.exp(tau))) + 1
        return drawn if self.most is None else min(drawn, self.most)

    def trains(self, block, loops, count):
        """Every count that may be drawn."""
        return self.most is None or count <= self.most


class ByBlock(LoopPolicy):
    """A policy per block; blocks without one run as the schedule says.

    Arguments
    ---------
    **blocks : LoopPolicy
        By block name; a block that does not recur raises ValueError when it is used.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import bicycle
    >>> policy = ByBlock(linguistic=Growing())
    >>> str(policy(bicycle(4, 5, 2, 3), 0, 100, None))
    '12 (phonetic x2)'
    """

    def __init__(self, **blocks: LoopPolicy):
        self.blocks = blocks

    def count(self, block, *args):
        """What the block's policy makes."""
        return self._of(block).count(block, *args)

    def trains(self, block, *args):
        """What the block's policy trains."""
        return self._of(block).trains(block, *args)

    def _of(self, block):
        return self.blocks.get(block, LoopPolicy())

    def _depth(self, schedule, *args):
        for name in self.blocks.keys() - schedule.loops.keys():
            raise ValueError(f"no block '{name}' that recurs in the schedule {schedule}")
        return super()._depth(schedule, *args)


def past(loops: int) -> list[int]:
    """Every count from 1 to half as many again as are trained for.

    Example
    -------
    >>> past(4)
    [1, 2, 3, 4, 5, 6]
    """
    return list(range(1, 3 * _count("loops", loops) // 2 + 1))


def _count(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
