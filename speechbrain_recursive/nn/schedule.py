"""Schedules: which physical layer runs at each logical step.

A schedule is a frozen value. This module does not import torch, so that reports and tools can work with
depths without loading a model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from typing import NamedTuple


class Step(NamedTuple):
    """One logical step: physical ``layer`` runs in loop number ``loop`` (from 0) of ``block``."""

    index: int
    layer: int
    loop: int
    block: str


@dataclass(frozen=True)
class Block:
    """Physical layers that run in order, ``loops`` times.

    Arguments
    ---------
    name : str
        Such as ``prelude``, ``recurrent``, ``coda`` or ``phonetic``.
    layers : tuple of int
        Indices of physical layers, in the order in which they run.
    loops : int
        How often the whole sequence of layers runs.
    recurs : bool
        Whether the number of loops can be changed. A recurrent block may be trained with one loop.

    Raises
    ------
    ValueError
        If there are no layers, an index is negative, ``loops`` is below 1, or a block that does not
        recur has more than one loop.

    Example
    -------
    >>> str(Block("recurrent", (2, 3, 4, 5), loops=5, recurs=True))
    '(2-5)x5'
    """

    name: str
    layers: tuple[int, ...]
    loops: int = 1
    recurs: bool = False

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError(f"block '{self.name}' has no layers")
        for layer in self.layers:
            if not _is_count(layer, least=0):
                raise ValueError(f"block '{self.name}': {layer!r} is no layer index")
        if not _is_count(self.loops, least=1):
            raise ValueError(f"block '{self.name}': loops must be at least 1, got {self.loops!r}")
        if self.loops > 1 and not self.recurs:
            raise ValueError(f"block '{self.name}' does not recur, so it cannot loop {self.loops} times")

    def __len__(self):
        return len(self.layers) * self.loops

    def __str__(self):
        text = ",".join(f"{a}-{b}" if a != b else str(a) for a, b in _ranges(self.layers))
        return f"({text})x{self.loops}" if self.recurs else text


@dataclass(frozen=True)
class Schedule:
    """A sequence of blocks. Iterating over it yields one :class:`Step` per layer application.

    Arguments
    ---------
    blocks : tuple of Block
        Blocks with unique names, in the order in which they run.

    Raises
    ------
    ValueError
        If two blocks have the same name.

    Example
    -------
    >>> schedule = latent(n_recurrent=4, loops=5, n_prelude=2, n_coda=2)
    >>> str(schedule), schedule.n_layers, len(schedule)
    ('0-1 | (2-5)x5 | 6-7', 8, 24)
    >>> str(schedule.with_loops(8))
    '0-1 | (2-5)x8 | 6-7'
    >>> schedule.ends("recurrent", every=2)
    (9, 17)
    """

    blocks: tuple[Block, ...]

    def __post_init__(self):
        object.__setattr__(self, "blocks", tuple(self.blocks))
        names = [block.name for block in self.blocks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"block '{name}' stands twice in the schedule")

    def __iter__(self) -> Iterator[Step]:
        index = 0
        for block in self.blocks:
            for loop in range(block.loops):
                for layer in block.layers:
                    yield Step(index, layer, loop, block.name)
                    index += 1

    def __len__(self):
        return sum(len(block) for block in self.blocks)

    def __str__(self):
        return " | ".join(str(block) for block in self.blocks)

    @property
    def n_layers(self) -> int:
        """Number of physical layers: the highest index plus one."""
        return 1 + max((max(block.layers) for block in self.blocks), default=-1)

    @property
    def loops(self) -> dict[str, int]:
        """Loop count of each block that recurs, by name."""
        return {block.name: block.loops for block in self.blocks if block.recurs}

    def with_loops(self, loops: int | None = None, /, **by_block: int) -> "Schedule":
        """Return the schedule with other loop counts.

        Arguments
        ---------
        loops : int, optional
            New count for every block that recurs. If none does, only 1 is allowed.
        **by_block : int
            New counts for single blocks, by name.

        Returns
        -------
        Schedule

        Raises
        ------
        ValueError
            If no block recurs, a name is unknown or does not recur, or a count is below 1.
        """
        if not self.loops and loops not in (None, 1):
            raise ValueError(f"no block of the schedule {self} recurs, so it cannot loop {loops} times")
        counts = self.loops if loops is None else dict.fromkeys(self.loops, loops)
        for name in by_block:
            if name not in counts:
                known = ", ".join(counts) or "none"
                raise ValueError(f"no block '{name}' that recurs; there is {known}")
        counts = {**counts, **by_block}
        return Schedule(
            replace(block, loops=counts.get(block.name, block.loops)) for block in self.blocks
        )

    def paths(self, depth: int) -> list["Schedule"]:
        """List the legal paths of a logical depth (Foldable, section 3.1).

        In each of them, every block that recurs makes k or k + 1 loops, with one k for all. Blocks that
        come first make more loops in the paths that come first.

        Arguments
        ---------
        depth : int
            Layer applications in all.

        Returns
        -------
        list of Schedule
            At least one.

        Raises
        ------
        ValueError
            If no path has this depth.

        Example
        -------
        >>> [str(path) for path in bicycle(3, 3, 1, 1).paths(8)]
        ['0 | (1-2)x2 | (3-4)x1 | 5', '0 | (1-2)x1 | (3-4)x2 | 5']
        """
        loops, longer = self._split(depth)
        return [self._path(loops, blocks) for blocks in longer]

    def with_depth(self, depth: int) -> "Schedule":
        """Return the first of :meth:`paths`."""
        loops, longer = self._split(depth)
        return self._path(loops, next(longer))

    def reaches(self, depth: int) -> bool:
        """Whether there are :meth:`paths` of a logical depth."""
        loops, longer = self._selections(_count("depth", depth))
        return loops >= 1 and next(longer, None) is not None

    def _split(self, depth):
        """Loops of all blocks that recur, and the selections of those that make one more."""
        if self.reaches(depth):
            return self._selections(depth)
        seed = self.with_loops(1)
        below = range(depth - 1, len(seed) - 1, -1)
        above = range(max(depth + 1, len(seed)), max(depth, len(seed)) + len(seed) + 1)
        near = [str(each) for side in (below, above) for each in islice(filter(self.reaches, side), 1)]
        raise ValueError(
            f"no path of the schedule {seed} has depth {depth}; the nearest: {', '.join(near)}"
        )

    def _selections(self, depth):
        seed = self.with_loops(1)
        free = [block for block in seed.blocks if block.recurs]
        loops, rest = divmod(depth - len(seed), sum(map(len, free))) if free else (0, depth - len(seed))
        return loops + 1, _adding_up(free, rest)

    def _path(self, loops, longer):
        """All recurrent blocks at one count, and some of them at one more."""
        return self.with_loops(loops, **{block.name: loops + 1 for block in longer})

    def ends(self, name: str, every: int = 1) -> tuple[int, ...]:
        """Return the indices of the steps that end a loop of a block.

        Arguments
        ---------
        name : str
            Name of the block.
        every : int
            Only loops ``every``, ``2 * every``... count.

        Returns
        -------
        tuple of int
        """
        start = 0
        for block in self.blocks:
            if block.name == name:
                loops = range(every, block.loops + 1, every)
                return tuple(start + loop * len(block.layers) - 1 for loop in loops)
            start += len(block)
        raise ValueError(f"no block '{name}'; there is {', '.join(b.name for b in self.blocks)}")

    def without(self, layer: int) -> "Schedule":
        """Return the schedule with one layer left out, wherever it runs.

        Arguments
        ---------
        layer : int
            Index of the layer. The others keep theirs.

        Returns
        -------
        Schedule

        Raises
        ------
        ValueError
            If the schedule does not have the layer, or has no other.

        Example
        -------
        >>> str(latent(n_recurrent=2, loops=3, n_prelude=1, n_coda=0).without(1))
        '0 | (2)x3'
        """
        left = [(block, [i for i in block.layers if i != layer]) for block in self.blocks]
        found = Schedule(replace(block, layers=layers) for block, layers in left if layers)
        if not found.blocks or len(found) == len(self):
            raise ValueError(f"the schedule {self} cannot run without layer {layer}")
        return found


def standard(n: int) -> Schedule:
    """Run layers 0 to n-1 once, as the plain encoder does."""
    return Schedule((Block("layers", range(_count("n", n))),))


def stages(sizes: Sequence[int]) -> Schedule:
    """Run layers once, as ``standard`` does, in blocks of so many layers: ``stage1``, ``stage2``...

    Hooks can act between them, for instance pool the frames.

    Example
    -------
    >>> str(stages([5, 5, 5]))
    '0-4 | 5-9 | 10-14'
    """
    ends = list(accumulate(_count("stages", size) for size in sizes))
    ranges = zip([0, *ends], ends, strict=False)
    return Schedule(Block(f"stage{i}", range(*each)) for i, each in enumerate(ranges, 1))


def cycle(n: int, loops: int) -> Schedule:
    """Run all layers in order, ``loops`` times (the Recursive-Transformer; CYCLE)."""
    return Schedule((Block("recurrent", range(_count("n", n)), loops, recurs=True),))


def sequence(n: int, loops: int) -> Schedule:
    """Run each layer ``loops`` times before the next (SEQUENCE)."""
    return Schedule(Block(f"layer{i}", (i,), loops, recurs=True) for i in range(_count("n", n)))


def latent(n_recurrent: int, loops: int, n_prelude: int, n_coda: int) -> Schedule:
    """Run a prelude, a recurrent block and a coda: {N_R, L, N_P, N_C} of "Rethinking Depth", Eq. 1 to 3.

    ``n_prelude = n_coda = 0`` gives the Recursive-Transformer, ``loops = 1`` the plain Transformer.
    """
    start = _count("n_prelude", n_prelude, least=0)
    end = start + _count("n_recurrent", n_recurrent)
    stop = end + _count("n_coda", n_coda, least=0)
    blocks = [Block("recurrent", range(start, end), loops, recurs=True)]
    if start:
        blocks.insert(0, Block("prelude", range(start)))
    if stop > end:
        blocks.append(Block("coda", range(end, stop)))
    return Schedule(blocks)


def head_tail(n: int, loops: int) -> Schedule:
    """Run the first layer, the middle ones ``loops`` times, and the last (Zero Token Transformer)."""
    return latent(_count("n", n, least=3) - 2, loops, 1, 1)


def bicycle(n_phonetic: int, n_linguistic: int, phonetic_loops: int, linguistic_loops: int) -> Schedule:
    """Run a phonetic and a linguistic group, each with its own loop count (BiCycle, Algorithm 1).

    The first layer of the phonetic group and the last one of the linguistic group run once. The rest of
    each group runs ``phonetic_loops`` and ``linguistic_loops`` times.
    """
    middle = _count("n_phonetic", n_phonetic, least=2)
    last = middle + _count("n_linguistic", n_linguistic, least=2) - 1
    return Schedule(
        (
            Block("head", (0,)),
            Block("phonetic", range(1, middle), phonetic_loops, recurs=True),
            Block("linguistic", range(middle, last), linguistic_loops, recurs=True),
            Block("tail", (last,)),
        )
    )


def unfold(
    n: int, depth: int, unfoldable: Sequence[int] | None = None, path: Sequence[int] | None = None
) -> Schedule:
    """Repeat each of ``n`` layers in place, some once more than the others (Foldable).

    Arguments
    ---------
    n : int
        Number of physical layers.
    depth : int
        Logical depth to reach.
    unfoldable : sequence of int, optional
        Layers that may run more than once; all of them by default.
    path : sequence of int, optional
        Layers that run once more than the rest; the first ones by default.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If ``depth`` cannot be reached, or the path is not one of :func:`unfold_paths`.

    Example
    -------
    >>> str(unfold(4, 6, path=(0, 3)))
    '(0)x2 | (1)x1 | (2)x1 | (3)x2'
    """
    seed = _seed(n, unfoldable)
    loops, longer = seed._split(depth)
    if path is None:
        return seed._path(loops, next(longer))
    blocks = [seed.blocks[layer] for layer in sorted(path) if layer in range(n)]
    if len(blocks) < len(path) or tuple(blocks) not in longer:
        raise ValueError(f"unfold path {tuple(path)} of {seed} does not lead to depth {depth}")
    return seed._path(loops, blocks)


def unfold_paths(n: int, depth: int, unfoldable: Sequence[int] | None = None) -> list[tuple[int, ...]]:
    """List all paths that :func:`unfold` allows, in lexicographic order.

    Example
    -------
    >>> len(unfold_paths(6, 8))
    15
    """
    _, longer = _seed(n, unfoldable)._split(depth)
    return [tuple(block.layers[0] for block in blocks) for blocks in longer]


def _seed(n, unfoldable):
    """Each layer a block of its own, once."""
    free = range(_count("n", n)) if unfoldable is None else unfoldable
    for layer in free:
        if layer not in range(n):
            raise ValueError(f"unfoldable block 'layer{layer}' is not among the {n} layers")
    return Schedule(Block(f"layer{i}", (i,), recurs=i in free) for i in range(n))


def _adding_up(blocks, total):
    """The selections of blocks whose lengths add up to a total, in lexicographic order."""
    if not total:
        yield ()
    elif total <= sum(len(block) for block in blocks):
        for index, block in enumerate(blocks):
            if len(block) <= total:
                for rest in _adding_up(blocks[index + 1 :], total - len(block)):
                    yield (block, *rest)


def _count(name, value, least=1):
    if not _is_count(value, least):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def _is_count(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _ranges(layers):
    """Runs of consecutive layers as (first, last) pairs."""
    runs = []
    for layer in layers:
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return runs
