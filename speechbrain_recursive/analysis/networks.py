"""Alignment of references and hypotheses that hold alternatives, as NIST's ``sclite -F -D`` aligns them.

A text is a network of words: ``{ A B / C }`` is either A B or C, and ``@`` is an alternative without
words. ``(A)`` is a word that may be missing. A word that ends or begins with a hyphen is a fragment, and
equals every word that begins or ends like it.

A substitution costs 4, an insertion or a deletion 3, and 2 for a word that may be missing. The cheapest
path need not be the one with the fewest errors: two insertions and two deletions cost as much as three
substitutions.
"""

import itertools
import re
from dataclasses import dataclass, field

SUBSTITUTION, GAP, OPTIONAL_GAP, NOTHING_GAP = 4.0, 3.0, 2.0, 0.001
NOTHING = "@"


@dataclass(frozen=True)
class Aligned:
    """What an alignment found.

    Arguments
    ---------
    errors : int
        Insertions, deletions and substitutions.
    length : int
        What errors are divided by: words of the path through the reference.
    reference : list of str
        The first of all alternatives, so that it is the same for every hypothesis.
    hypothesis : list of str
        In the words of ``reference`` wherever they count as the same.
    """

    errors: int
    length: int
    reference: list[str]
    hypothesis: list[str]


@dataclass
class Arc:
    """A word of a network.

    ``before`` are the places of the arcs before it; ``brace`` is the number of the outermost brace
    around it, if there is one; ``first`` says whether all alternatives that it is in are the first.
    """

    word: str
    before: list[int]
    optional: bool = False
    brace: int | None = None
    first: bool = True

    @property
    def gap(self) -> float:
        """What it costs to leave the word out."""
        if self.word == NOTHING:
            return NOTHING_GAP
        return OPTIONAL_GAP if self.optional else GAP


@dataclass
class _Brace:
    """An open brace: where it began, where its alternatives end, and whether the first one is read."""

    start: list[int]
    ends: list[int] = field(default_factory=list)
    first: bool = True


def network(text: str) -> tuple[list[Arc], list[int]]:
    """Make the network of a text.

    Arguments
    ---------
    text : str
        As the module describes.

    Returns
    -------
    list of Arc
        Each stands after those before it; the first one is the start and has no word.
    list of int
        Places of the last arcs.

    Raises
    ------
    ValueError
        If braces do not match.
    """
    arcs, ends, braces, count = [Arc("", [])], [0], [], 0
    for token in re.sub(r"([{}])", r" \1 ", text).split():
        if token == "{":
            count += not braces
            braces.append(_Brace(ends))
        elif token in ("/", "}") and braces:
            braces[-1].ends += ends
            braces[-1].first = False
            ends = braces[-1].start if token == "/" else braces.pop().ends
        elif token == "}":
            raise ValueError("a brace closes that was not opened")
        else:
            optional = len(token) > 2 and token[0] + token[-1] == "()"
            first = all(brace.first for brace in braces)
            word = token[1:-1] if optional else token
            arcs.append(Arc(word, ends, optional, count if braces else None, first))
            ends = [len(arcs) - 1]
    if braces:
        raise ValueError("a brace is not closed")
    return arcs, ends


def align(reference: str, hypothesis: str) -> Aligned:
    """Align two texts at the least cost.

    Arguments
    ---------
    reference, hypothesis : str
        As the module describes.

    Returns
    -------
    Aligned

    Raises
    ------
    ValueError
        If braces do not match.

    Example
    -------
    >>> found = align("(UH) I AM { GOING TO / GONNA } TH- NOW", "I'M GONNA THINK NOW")
    >>> found.errors, found.length
    (2, 6)
    >>> " ".join(found.hypothesis)
    "UH I'M GOING TO TH- NOW"
    """
    (these, last), (those, others) = network(reference), network(hypothesis)
    pairs = _path(these, last, those, others)
    counts = [_count(one, other) for one, other in pairs]
    words = [arc.word for arc in these[1:] if arc.first and arc.word != NOTHING]
    said = []
    for brace, some in itertools.groupby(_braces(pairs), key=lambda pair: pair[0]):
        some = [pair for _, pair in some]
        if brace is not None and not any(_count(*pair)[0] for pair in some):
            said += [a.word for a in these if a.brace == brace and a.first and a.word != NOTHING]
        else:
            said += itertools.chain.from_iterable(_said(*pair) for pair in some)
    return Aligned(sum(e for e, _ in counts), sum(n for _, n in counts), words, said)


def same(one: str, other: str) -> bool:
    """Whether two words count as the same, fragments included."""
    for fragment, word in ((one, other), (other, one)):
        if len(fragment) > 1 and fragment[0] == "-":
            return word.endswith(fragment[1:])
        if len(fragment) > 1 and fragment[-1] == "-":
            return word.startswith(fragment[:-1])
    return one == other


def _path(these, last, those, others):
    """Pairs of arcs along a cheapest path; None stands for no word. Ties are broken as by sclite."""
    back = [[None] * len(those) for _ in these]
    cost = [[0.0] * len(those) for _ in these]

    def best(a, before_a, b, before_b):
        found = ((cost[i][j], i, j) for i in before_a or [a] for j in before_b or [b])
        return min(found, key=lambda one: one[0])

    for a, one in enumerate(these):
        for b, other in enumerate(those):
            steps = []
            if a and b:
                total, *place = best(a, one.before, b, other.before)
                steps.append((total + _substitution(one, other), *place))
            if b:
                total, *place = best(a, None, b, other.before)
                steps.append((total + other.gap, *place))
            if a:
                total, *place = best(a, one.before, b, None)
                steps.append((total + one.gap, *place))
            if steps:
                cost[a][b], *back[a][b] = min(steps, key=lambda step: step[0])
    _, a, b = best(None, last, None, others)
    pairs = []
    while a or b:
        i, j = back[a][b]
        pairs.append((these[a] if i != a else None, those[b] if j != b else None))
        a, b = i, j
    return pairs[::-1]


def _substitution(one, other):
    if one.word == other.word == NOTHING:
        return 1.0
    return 0.0 if same(one.word, other.word) else SUBSTITUTION


def _count(one, other):
    """Errors and reference words of a pair."""
    if one and other:
        return int(not same(one.word, other.word)), 1
    alone = one or other
    if alone.word == NOTHING:
        return 0, 0
    return int(not alone.optional), int(one is not None or alone.optional)


def _braces(pairs):
    """The brace of each pair, with words that are inserted within one."""
    inside = [one.brace if one else -1 for one, _ in pairs]  # -1: an insertion
    for i, brace in enumerate(inside):
        before = inside[i - 1] if i else None
        if brace == -1:
            after = next((each for each in inside[i:] if each != -1), None)
            inside[i] = before if before == after else None
    return zip(inside, pairs, strict=True)


def _said(one, other):
    """What a program that only counts words should see as the hypothesis of a pair."""
    if one and other:
        return [one.word if same(one.word, other.word) else other.word]
    alone = one or other
    if alone.word == NOTHING or (one is None) == alone.optional:
        return []
    return [alone.word]
