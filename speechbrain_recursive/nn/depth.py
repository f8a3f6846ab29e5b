"""How deep one run of an encoder goes: a schedule, with loop counts per row where rows differ.

A depth is resolved once per run. The value of ``--loops``, the result of a loop policy, an early exit
and a row of a report are all a :class:`Depth`. Like the schedule it is a frozen value, and this module
imports no torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import digits
from typing import Any

from speechbrain_recursive.nn.schedule import Schedule


@dataclass(frozen=True)
class Depth:
    """The depth of one run.

    Arguments
    ---------
    schedule : Schedule
        With the highest loop count of each block.
    rows : tuple of (str, tuple of int)
        For each block whose count differs between the rows of a batch, its name and a count per row.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import latent
    >>> depth = Depth.of(latent(n_recurrent=4, loops=5, n_prelude=2, n_coda=2), 3)
    >>> str(depth), depth.loops, len(depth), str(depth.schedule)
    ('3', 3, 16, '0-1 | (2-5)x3 | 6-7')
    >>> str(depth.stop("recurrent", 2))
    '2'
    """

    schedule: Schedule
    rows: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @classmethod
    def of(cls, schedule: Schedule, request: Any = None) -> "Depth":
        """Resolve a request.

        Arguments
        ---------
        schedule : Schedule
            What the model was built for.
        request : optional
            None takes the schedule as it is. A whole number is the loop count of every block that
            recurs, a sequence of them (or a tensor [B]) a count per row; a mapping gives either by block
            name. A :class:`Schedule` or :class:`Depth` stands for itself.

        Returns
        -------
        Depth

        Raises
        ------
        ValueError
            If no block recurs, a block is unknown, or a count is not a whole number of at least 1.
        """
        if isinstance(request, Depth):
            return request
        if isinstance(request, Schedule):
            return cls(request)
        if request is None or isinstance(request, int):
            return cls(schedule.with_loops(request))
        if not isinstance(request, Mapping):
            request = dict.fromkeys(schedule.loops, request)
            if not request:
                raise ValueError(f"no block of the schedule {schedule} recurs, so its rows cannot loop")
        counts = {name: _by_row(name, count) for name, count in request.items()}
        most = {
            name: max(count) if isinstance(count, tuple) else count for name, count in counts.items()
        }
        resolved = schedule.with_loops(**most)
        by_row = ((name, counts.get(name)) for name in resolved.loops)  # equal depths compare equal
        return cls(
            resolved, tuple((n, c) for n, c in by_row if isinstance(c, tuple) and min(c) < max(c))
        )

    def __len__(self) -> int:
        """Logical depth: the layer applications of the row that goes deepest."""
        return len(self.schedule)

    def __str__(self) -> str:
        counts = {}
        for name, high in self.schedule.loops.items():
            low = min(self.by_row(name) or (high,))
            counts[name] = f"{low}-{high}" if low < high else str(high)
        if len(counts) == 1:
            return next(iter(counts.values()))
        looped = ", ".join(_joined((name, count) for name, count in counts.items() if count != "1"))
        return f"{len(self)} ({looped})" if looped else str(len(self))

    @property
    def loops(self) -> int | None:
        """The loop count if exactly one block recurs, else None."""
        counts = self.schedule.loops
        return next(iter(counts.values())) if len(counts) == 1 else None

    def by_row(self, block: str) -> tuple[int, ...] | None:
        """Counts of a block per row, or None if all rows agree."""
        return dict(self.rows).get(block)

    def stop(self, block: str, loops: int) -> "Depth":
        """The depth of a run that leaves ``block`` after at most ``loops`` loops: an early exit.

        Raises
        ------
        ValueError
            If the block does not recur or makes fewer loops.
        """
        made = self.schedule.loops.get(block, 0)
        if not 1 <= loops <= made:
            raise ValueError(f"no exit after loop {loops} of block '{block}', which makes {made} loops")
        capped = {**self.schedule.loops, **dict(self.rows)}
        capped[block] = [min(count, loops) for count in self.by_row(block) or (made,)]
        return Depth.of(self.schedule, capped)

    def exit(self, other: "Depth") -> tuple[str, int]:
        """Where this run would have to stop to be ``other``, as block and loop count.

        Raises
        ------
        ValueError
            If ``other`` is not an exit of this run.
        """
        ours, theirs = self.schedule.loops, other.schedule.loops
        for block in ours:
            loops = theirs.get(block, 0)
            if 1 <= loops < ours[block] and self.stop(block, loops) == other:
                return block, loops
        raise ValueError(f"{other.schedule} is not an exit of {self.schedule}")


def labels(depths: Iterable[Depth]) -> dict[Depth, str]:
    """Name several depths so that no two have one name.

    Arguments
    ---------
    depths : iterable of Depth
        Each is counted once. Where an earlier one has the same text, the schedule is added.

    Returns
    -------
    dict of Depth to str

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import cycle, unfold
    >>> list(labels([Depth(cycle(4, 2)), Depth(cycle(2, 2)), Depth(unfold(4, 7))]).values())
    ['2', '2: (0-1)x2', '7 (layer0-2 x2)']
    """
    found = {}
    for depth in depths:
        name = str(depth)
        taken = any(name == other for each, other in found.items() if each != depth)
        found[depth] = f"{name}: {depth.schedule}" if taken else name
    return found


def _joined(counts):
    """Blocks with their counts; those numbered in a row that have the same count are one."""
    runs = []
    for name, count in counts:
        stem = name.rstrip(digits)
        number = int(name[len(stem) :] or -1)
        if runs and number > 0 and runs[-1][1:] == (stem, number - 1, count):
            first = runs.pop()[0].partition("-")[0]
            runs.append((f"{first}-{number}", stem, number, count))
        else:
            runs.append((name, stem, number, count))
    return [f"{text} x{count}" for text, *_, count in runs]


def _by_row(block, count):
    """One count, or a tuple of them."""
    if hasattr(count, "tolist"):
        count = count.tolist()
    if not isinstance(count, Sequence):
        return count
    if not count or not all(isinstance(each, int) and each >= 1 for each in count):
        raise ValueError(f"block '{block}': loops must be at least 1, got {min(count, default='none')}")
    return tuple(count)
