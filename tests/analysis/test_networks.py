"""Alignment of texts with alternatives: against all paths and alignments, and against NIST's sclite."""

import itertools
import random
import re
import shutil
import subprocess

import pytest

from speechbrain_recursive.analysis.networks import align, network, same
from speechbrain_recursive.analysis.nist import DEBIAN

RECORDED = [  # reference, hypothesis, and what sclite 2.10 -F -D counts: errors and words
    ("A B (UH) C", "A B C", 0, 4),
    ("A D", "A (UH) E", 1, 3),
    ("A B C D", "A X D", 2, 4),
    ("(UH) (UM)", "", 0, 2),
    ("TH- THEM", "THE TH-", 0, 2),
    ("-ING A", "GOING", 1, 2),
    ("{ A B / C } D", "C D", 0, 2),
    ("{ A B / C } D", "A D", 1, 3),
    ("{ @ / A } B", "B", 0, 1),
    ("X Y Z A B", "A B P Q R", 6, 5),  # where the fewest errors are 5
]
SCLITE = shutil.which("sclite") or shutil.which("sclite", path=DEBIAN)


@pytest.mark.parametrize(("reference", "hypothesis", "errors", "length"), RECORDED)
def test_what_sclite_counted(reference, hypothesis, errors, length):
    found = align(reference, hypothesis)
    assert (found.errors, found.length) == (errors, length)


def draw(rng, words, most, alternatives):
    """A text of some words, in which a fifth may be alternatives."""
    text = []
    for _ in range(rng.randint(0, most)):
        if alternatives and rng.random() < 0.2:
            some = [" ".join(rng.choices(words, k=rng.randint(1, 2))) for _ in range(rng.randint(2, 3))]
            text.append(f"{{ {' / '.join(some)} }}")
        else:
            text.append(rng.choice(words))
    return " ".join(text)


def paths(text):
    """All paths through a text without nested braces: lists of words."""
    parts = re.findall(r"{[^}]*}|[^ {}]+", text)
    options = [p.strip("{} ").split(" / ") if p[0] == "{" else [p] for p in parts]
    return [" ".join(path).split() for path in itertools.product(*options)]


def gap(word):
    """Cost, errors and reference words of a word that nothing stands beside."""
    return (2, 0) if word[0] == "(" else (3, 1)


def alignments(one, other):
    """Cost, errors and length of every alignment of two lists of words."""
    if not one and not other:
        yield 0, 0, 0
    if one and other:
        wrong = not same(one[0].strip("()"), other[0].strip("()"))
        for cost, errors, length in alignments(one[1:], other[1:]):
            yield cost + 4 * wrong, errors + wrong, length + 1
    if one:
        more, wrong = gap(one[0])
        for cost, errors, length in alignments(one[1:], other):
            yield cost + more, errors + wrong, length + 1
    if other:
        more, wrong = gap(other[0])
        for cost, errors, length in alignments(one, other[1:]):
            yield cost + more, errors + wrong, length + (not wrong)


def test_the_alignment_is_a_cheapest_one_of_all():
    rng, words = random.Random(0), ["A", "B", "C", "(A)", "TH-", "THE", "-E"]
    texts = [(draw(rng, words, 4, True), draw(rng, words, 4, False)) for _ in range(120)]
    texts += [(draw(rng, words, 3, False), draw(rng, words, 3, True)) for _ in range(60)]
    for one, other in texts:
        every = {x for a in paths(one) for b in paths(other) for x in alignments(a, b)}
        least = min(cost for cost, _, _ in every)
        found = align(one, other)
        assert (least, found.errors, found.length) in every, (one, other)


def test_what_other_programs_get_counts_the_same():
    found = align("(UH) I { CAN NOT / CAN'T } SEE TH- NOW", "I CAN'T SEE THINGS")
    assert (found.errors, found.length) == (1, 6)
    assert found.reference == ["UH", "I", "CAN", "NOT", "SEE", "TH-", "NOW"]
    assert found.hypothesis == ["UH", "I", "CAN", "NOT", "SEE", "TH-"]
    found = align("{ A B / C } D", "X D (UH)")
    assert (found.reference, found.hypothesis) == (["A", "B", "D"], ["X", "D"])
    assert align("{ @ / A } B", "A B").hypothesis == ["B"]


def test_a_reference_stays_the_same_for_every_hypothesis():
    text = "{ A B / C } (UH) D"
    assert len({tuple(align(text, said).reference) for said in ("", "C D", "A B D", "X Y Z")}) == 1


def test_networks_may_be_nested():
    arcs, ends = network("A { B { C / D } / E } F")
    before = {arc.word: {arcs[i].word for i in arc.before} for arc in arcs[1:]}
    assert before == {"A": {""}, "B": {"A"}, "C": {"B"}, "D": {"B"}, "E": {"A"}, "F": {"C", "D", "E"}}
    assert [arcs[i].word for i in ends] == ["F"]
    for text in ("{ A", "A }", "{ A / { B }"):
        with pytest.raises(ValueError, match="brace"):
            network(text)


def test_fragments():
    assert same("TH-", "THING")
    assert same("THING", "TH-")
    assert same("-ING", "THING")
    assert same("TH-", "TH-")
    assert not same("TH-", "SUMMER")
    assert not same("-", "A")
    assert not same("UH", "SUMMER")


def sclite(texts, folder):
    """Errors and words of each pair of texts by NIST's program."""
    stm = "".join(f"a{i:04d} A s{i:04d} 0.0 9.0 <O> {one}\n" for i, (one, _) in enumerate(texts))
    lines = (
        f"a{i:04d} A {0.1 * n:.1f} 0.1 {word}\n"
        for i, (_, other) in enumerate(texts)
        for n, word in enumerate(other.split())
    )
    (folder / "stm").write_text(stm)
    (folder / "ctm").write_text("".join(lines))
    command = [SCLITE, *["-r", "stm", "stm", "-h", "ctm", "ctm", "-F", "-D", "-o", "rsum", "stdout"]]
    table = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"\| s\d+ \|([ \d]+)\|([ \d]+)\|", table)
    return [(int(errors.split()[4]), int(words.split()[1])) for words, errors in rows]


@pytest.mark.skipif(SCLITE is None, reason="NIST's sclite is not installed")
def test_sclite_counts_the_same(tmp_path):
    rng, words = random.Random(1), ["A", "B", "C", "D", "F-", "-G", "TH-", "THE", "THEM", "(UH)", "(UM)"]
    texts = [(f"A {draw(rng, words, 9, False)}", draw(rng, words, 9, False)) for _ in range(500)]
    texts += [(reference, hypothesis) for reference, hypothesis, *_ in RECORDED]
    ours = [align(*pair) for pair in texts]
    assert sclite(texts, tmp_path) == [(found.errors, found.length) for found in ours]


@pytest.mark.skipif(SCLITE is None, reason="NIST's sclite is not installed")
def test_with_alternatives_sclite_differs_in_ties_only(tmp_path):
    rng, words = random.Random(2), ["A", "B", "C", "D", "F-", "-G", "TH-", "THE", "THEM", "(UH)", "(UM)"]
    texts = [(f"A {draw(rng, words, 7, True)}", draw(rng, words, 9, False)) for _ in range(500)]
    ours = [(found.errors, found.length) for found in (align(*pair) for pair in texts)]
    theirs = sclite(texts, tmp_path)
    assert sum(one != other for one, other in zip(ours, theirs, strict=True)) <= 2
    rates = [100 * sum(e for e, _ in some) / sum(n for _, n in some) for some in (ours, theirs)]
    assert rates[0] == pytest.approx(rates[1], abs=0.1)
