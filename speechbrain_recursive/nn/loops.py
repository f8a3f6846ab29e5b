"""Loop counts of training steps, as values.

Each object is called once a training step with the number of the step, the number of steps in all
and the batch's durations, and returns what the encoder takes as ``loops``. Its ``trained`` is the
count that evaluation regards as trained for, and ``at_inference`` what the encoder then takes. Counts
are the same on every rank of a distributed run and in a run that was resumed, since nothing is drawn
but from the seed and the step.
"""

import numpy as np

from speechbrain_recursive.errors import UserError


class _Policy:
    """What a policy makes at inference: the trained count, unless it says otherwise."""

    def at_inference(self, seconds):
        """Loops of a batch of utterances of so many seconds [B]; see :meth:`Fixed.__call__`."""
        return self.trained

    def supervises(self, loops):
        """Whether a loop count has a loss in training (bool)."""
        return loops == self.trained


class Fixed(_Policy):
    """The same count at every step.

    Arguments
    ---------
    loops : int

    Example
    -------
    >>> Fixed(5)(step=0, total_steps=100, seconds=None)
    5
    """

    def __init__(self, loops):
        self.trained = _count("loops", loops)

    def __call__(self, step, total_steps, seconds):
        """Loops of a step.

        Arguments
        ---------
        step : int
            Training steps made so far, over all epochs.
        total_steps : int
            Training steps in all.
        seconds : torch.Tensor
            Durations of the utterances [B], in seconds.

        Returns
        -------
        int, torch.LongTensor of shape [B] (one count for each utterance), or dict of these by block
        """
        return self.trained


class Proportional(_Policy):
    """A count for each utterance, proportional to its duration: "Rethinking Depth", Length strategy.

    The text of the paper's Eq. 4 is lost but for its range, 1 to L in proportion to the duration.
    Ours is ``ceil(L * seconds / max_seconds)``, held between 1 and L.

    Arguments
    ---------
    loops : int
        L, which utterances of ``max_seconds`` and more make; what is regarded as trained.
    max_seconds : float
        Duration from which on utterances make all loops.

    Example
    -------
    >>> import torch
    >>> Proportional(20, max_seconds=20.0)(0, 100, torch.tensor([0.3, 4.5, 30.0])).tolist()
    [1, 5, 20]
    """

    def __init__(self, loops, max_seconds):
        self.trained = _count("loops", loops)
        if not max_seconds > 0:
            raise UserError(f"max_seconds must be positive, got {max_seconds!r}")
        self.max_seconds = max_seconds

    def __call__(self, step, total_steps, seconds):
        """See :meth:`Fixed.__call__`; returns a LongTensor [B] on the device of ``seconds``."""
        return self.at_inference(seconds)

    def at_inference(self, seconds):
        """Each utterance's own count (LongTensor [B]), the same as in training."""
        # Multiplied first: divided first, whole numbers of seconds would round past whole counts.
        loops = (self.trained * seconds / self.max_seconds).ceil().long()
        return loops.clamp(1, self.trained)

    def supervises(self, loops):
        """Every count up to L has a loss where utterances are short enough for it (bool)."""
        return _most(loops) <= self.trained


class Growing(_Policy):
    """From 1 to L over training, in equal parts: "Rethinking Depth", Schedule strategy.

    The text of the paper's Eq. 5 is lost but for its ends; that each count lasts equally long is
    our reading.

    Arguments
    ---------
    loops : int
        L, reached in the last part of training.
    inference : int, optional
        What evaluation runs at and regards as trained; L by default.

    Example
    -------
    >>> grow = Growing(20, inference=5)
    >>> [grow(step, 1000, None) for step in (0, 49, 50, 500, 999)], grow.trained
    ([1, 1, 2, 11, 20], 5)
    """

    def __init__(self, loops, inference=None):
        self.loops = _count("loops", loops)
        self.trained = self.loops if inference is None else _count("inference", inference)

    def __call__(self, step, total_steps, seconds):
        """See :meth:`Fixed.__call__`; returns an int."""
        return min(self.loops, 1 + self.loops * step // total_steps)

    def supervises(self, loops):
        """Every count up to L has a loss at some time of training (bool)."""
        return _most(loops) <= self.loops


class LogNormalPoisson(_Policy):
    """Drawn anew at each step, with a heavy tail (Geiping et al., 2025, section 3.3).

    ``tau ~ N(log(mean) - sigma^2 / 2, sigma)``, then ``loops ~ Poisson(exp(tau)) + 1``.

    Arguments
    ---------
    mean : int
        Mean of the Poisson draw; what evaluation regards as trained.
    sigma : float
        Spread of its logarithm.
    most : int, optional
        Upper limit, for the sake of memory.
    seed : int
        Draws are a function of the seed and the step.

    Example
    -------
    >>> draw = LogNormalPoisson(5, seed=1)
    >>> draw(7, 100, None) == draw(7, 100, None)
    True
    """

    def __init__(self, mean, sigma=0.5, most=None, seed=0):
        self.trained = _count("mean", mean)
        self.most = most if most is None else _count("most", most)
        self.sigma = sigma
        self.seed = seed

    def __call__(self, step, total_steps, seconds):
        """See :meth:`Fixed.__call__`; returns an int."""
        rng = np.random.default_rng((self.seed, step))
        tau = rng.normal(np.log(self.trained) - self.sigma**2 / 2, self.sigma)
        loops = int(rng.poisson(np.exp(tau))) + 1
        return loops if self.most is None else min(loops, self.most)

    def supervises(self, loops):
        """Every count may be drawn, up to the limit (bool)."""
        return self.most is None or _most(loops) <= self.most


class ByBlock(_Policy):
    """Counts of their own for blocks that recur, by name.

    Arguments
    ---------
    **blocks : Fixed, Proportional, Growing or LogNormalPoisson

    Example
    -------
    >>> ByBlock(phonetic=Fixed(2), linguistic=Growing(3))(0, 100, None)
    {'phonetic': 2, 'linguistic': 1}
    """

    def __init__(self, **blocks):
        self.blocks = blocks
        self.trained = {name: loops.trained for name, loops in blocks.items()}

    def __call__(self, step, total_steps, seconds):
        """See :meth:`Fixed.__call__`; returns a dict by block."""
        return {name: loops(step, total_steps, seconds) for name, loops in self.blocks.items()}

    def at_inference(self, seconds):
        """By block, what each one's policy makes."""
        return {name: loops.at_inference(seconds) for name, loops in self.blocks.items()}


def past(loops):
    """Every count from 1 to half as many again as are trained for: what an evaluation may look at.

    Arguments
    ---------
    loops : int

    Returns
    -------
    list of int

    Example
    -------
    >>> past(4)
    [1, 2, 3, 4, 5, 6]
    """
    return list(range(1, 3 * _count("loops", loops) // 2 + 1))


def _most(loops):
    """The highest count of loops, one number or one for each block."""
    return max(loops.values()) if isinstance(loops, dict) else loops


def _count(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
