"""Long audio as overlapping windows of the durations that a model was trained on."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from speechbrain_recursive.data.durations import Durations

PAUSE = 0.12  # seconds of quiet, longer than the closure of a stop within a word
STEP = 0.01  # seconds of which the level is measured


class Window(NamedTuple):
    """A part of a recording: ``signal`` [time], which begins at ``start`` seconds.

    Its words count from ``begin`` seconds on, up to the beginning of the next window.
    """

    signal: np.ndarray
    start: float
    begin: float


def windows(blocks: Iterable[np.ndarray], sample_rate: int, durations: Durations) -> Iterator[Window]:
    """Divide a recording.

    Up to one and a half times the longest training utterance, a recording is one window. Longer ones
    are divided where they are quiet, so that no window is longer than that utterance, and its length is
    as typical as pauses allow. At a pause between words, the windows meet. Elsewhere they overlap by a
    quarter of their greatest length.

    Arguments
    ---------
    blocks : iterable of numpy.ndarray
        The recording, each [time].
    sample_rate : int
        Samples per second.
    durations : Durations
        What the model was trained on.

    Yields
    ------
    Window
        No more of the recording is kept than one and a half windows and a block. Windows do not depend
        on how the recording is divided into blocks.
    """
    longest = int(durations.longest * sample_rate)
    whole, side = longest * 3 // 2, longest // 8
    held, first, begin, last = np.zeros(0, dtype=np.float32), 0, 0, False
    blocks = iter(blocks)
    while True:
        while len(held) <= whole and not last:
            block = next(blocks, None)
            last = block is None
            held = held if last else np.concatenate([held, block])
        if len(held) <= (longest if begin else whole):
            if len(held):
                yield Window(held, first / sample_rate, begin / sample_rate)
            return
        cut, paused = _quietest(held[:whole], sample_rate, durations, longest - side)
        reach = 0 if paused else side
        yield Window(held[: cut + reach], first / sample_rate, begin / sample_rate)
        begin, first = first + cut, first + cut - reach
        held = held[cut - reach :]


def _quietest(signal, rate, durations, limit):
    """Where to divide a signal [time], in samples, and whether words pause there."""
    step = round(STEP * rate)
    levels = np.sqrt(np.square(signal[: len(signal) // step * step].reshape(-1, step)).mean(1))
    floor, loud = np.quantile(levels, [0.1, 0.95]).tolist()
    quiet = levels <= min(max(2 * floor, 0.03 * loud), 0.15 * loud)
    least = min(max(durations.shortest, durations.longest / 4), len(signal) / rate / 2)
    most = max(least, min(limit, len(signal) - least * rate) / rate)
    edges = np.diff(quiet.astype(int), prepend=0, append=0)
    ends = np.flatnonzero(edges < 0).tolist()
    found = []
    for begin, end in zip(np.flatnonzero(edges > 0).tolist(), ends, strict=True):
        middle = (begin + end) / 2 * STEP
        if least <= middle <= most:
            typical = min(middle / durations.typical, durations.typical / middle)
            length = (end - begin) * STEP
            found.append((min(length, 2 * PAUSE) * typical, middle, length >= PAUSE))
    _, middle, paused = max(found, default=(0, most, False))
    return round(middle * rate), paused
