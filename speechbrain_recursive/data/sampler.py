"""Batches of similar lengths whose order depends on seed and epoch alone."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class LengthBatchSampler(Sampler):
    """Batches of similar lengths, limited by padded duration, drawn again every epoch.

    It replaces SpeechBrain's ``DynamicBatchSampler``, which draws epoch e of seed s like epoch e + 1
    of seed s - 1, and whose ``DistributedSamplerWrapper`` fixes the number of batches at the first
    epoch, although it changes from epoch to epoch: training on several processes then stops at an
    assertion, or leaves out some batches.

    Utterances are sorted by duration times a random factor of 0.9 to 1.1, so that neighbors change, cut
    into batches, and the batches shuffled.

    Arguments
    ---------
    durations : sequence of float
        Duration of every item, in seconds.
    max_seconds : float
        Limit on the batch size times the longest duration. A longer item is a batch of its own.
    seed : int
        Seed of the order.
    max_examples : int or None
        Limit on the batch size.
    shuffle : bool
        If False, the longest items come first, in every epoch.
    rank, world_size : int
        Which of how many processes this is. All of them get equally many batches, for which the
        first ones of the epoch are repeated where needed.

    Example
    -------
    >>> sampler = LengthBatchSampler([1, 5, 1, 5], max_seconds=10, shuffle=False)
    >>> list(sampler)
    [[1, 3], [0, 2]]
    """

    def __init__(
        self,
        durations: Sequence[float],
        max_seconds: float,
        seed: int = 0,
        max_examples: int | None = None,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.durations = np.asarray(durations, dtype=np.float64)
        self.max_seconds = max_seconds
        self.seed = seed
        self.max_examples = max_examples or len(self.durations)
        self.shuffle = shuffle
        self.rank, self.world_size = rank, world_size
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of an epoch.

        Arguments
        ---------
        epoch : int
            Any number; SpeechBrain counts from 1 and calls this if the sampler is its
            ``brain.train_sampler``.
        """
        rng = np.random.default_rng((self.seed, epoch))
        keys = -self.durations
        if self.shuffle:
            keys = keys * rng.uniform(0.9, 1.1, len(keys))
        batches, longest = [[]], 0.0
        for item in np.argsort(keys, kind="stable").tolist():
            longest = max(longest, self.durations[item])
            size = len(batches[-1]) + 1
            if size > 1 and (size > self.max_examples or size * longest > self.max_seconds):
                batches.append([])
                longest = self.durations[item]
            batches[-1].append(item)
        if self.shuffle:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        short = -len(batches) % self.world_size
        batches += [batches[i % len(batches)] for i in range(short)]
        self.batches = batches[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
