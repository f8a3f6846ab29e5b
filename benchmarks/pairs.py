"""Time two callables in interleaved pairs, and measure the peak memory of one in a separate process.

The order within pairs alternates, so that whatever else slows down the machine affects both alike. The
result is the ratio within pairs, not the times themselves.
"""

import ctypes
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from scipy.stats import quantile_test

_M_MMAP_THRESHOLD = -3  # from malloc.h


class Ratio(NamedTuple):
    """Median ratio of times within pairs, with the ends of its 95% confidence interval."""

    median: float
    low: float
    high: float

    def __str__(self):
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def time_pairs(
    first: Callable[[], object],
    second: Callable[[], object],
    pairs: int = 15,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Time two callables alternately: first, second; second, first; and so on.

    Arguments
    ---------
    first, second : callable
        Called without arguments. Timing waits for work on a GPU.
    pairs : int
        Timed calls of each.
    warmup : int
        Calls of each before timing starts.
    clock : callable
        Returns the time in seconds.

    Returns
    -------
    (list of float, list of float)
        Seconds of each call of `first` and of `second`, pair by pair.

    Example
    -------
    >>> ours, theirs = time_pairs(lambda: sum(range(10)), lambda: sum(range(10)), pairs=15)
    >>> len(ours), len(theirs)
    (15, 15)
    """
    times = [[], []]
    for pair in range(-warmup, pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            _wait()
            start = clock()
            (first, second)[which]()
            _wait()
            if pair >= 0:
                times[which].append(clock() - start)
    return times[0], times[1]


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Median of the ratios within pairs, with its 95% confidence interval.

    The interval lies between two order statistics of the ratios. These follow from the binomial
    distribution of the number of ratios below the true median, so no distribution of times is assumed.

    Arguments
    ---------
    numerators, denominators : sequence of float
        Times of each pair. At least six pairs are needed for a 95% interval.

    Returns
    -------
    Ratio

    Example
    -------
    >>> print(median_ratio([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6], [1.0] * 7))
    1.300 [1.000, 1.600]
    """
    if len(numerators) < 6:
        raise ValueError(f"{len(numerators)} pairs carry no 95% interval of a median: run 6 or more")
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    interval = quantile_test(ratios, q=1.0, p=0.5).confidence_interval(0.95)
    return Ratio(statistics.median(ratios), float(interval.low), float(interval.high))


def peak_memory(build: Callable[..., Callable[[], object]], *args) -> int:
    """Measure in a fresh process how many bytes a call allocates on top of its model and inputs.

    Arguments
    ---------
    build : callable
        Function at the top level of a module. The new process calls it with `args`; it builds model and
        inputs and returns the callable to measure.

    Returns
    -------
    int
        On a GPU, the peak of the allocator; otherwise, the peak of the resident set.

    Raises
    ------
    RuntimeError
        If the new process fails.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, build, args))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(f"{build.__name__}{args} failed in its own process") from None
    finally:
        process.join()


def _measure(sender, build: Callable, args: tuple):
    free_at_once()
    step = build(*args)
    if torch.cuda.is_available():
        _wait()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        _wait()
        sender.send(torch.cuda.max_memory_allocated() - before)
        return
    peak = ResidentPeak()
    step()
    sender.send(peak())


def free_at_once():
    """Let glibc return freed memory at once; otherwise part of a later peak would reuse it."""
    if not torch.cuda.is_available():
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**16)


class ResidentPeak:
    """Peak of this process's resident set beyond what it held on construction (Linux).

    ``ru_maxrss`` cannot be reset, and a process inherits it from its parent.
    """

    def __init__(self):
        Path("/proc/self/clear_refs").write_text("5")
        self.before = _status("VmRSS")

    def __call__(self) -> int:
        """The peak so far, in bytes."""
        return _status("VmHWM") - self.before


def _status(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1])


def _wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
