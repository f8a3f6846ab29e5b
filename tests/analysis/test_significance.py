"""MAPSSWE and its alignment against NIST's programs, and the paired bootstrap."""

import itertools
import math
import random
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy.stats import norm

from speechbrain_recursive.analysis.significance import (
    bootstrap_difference,
    error_slots,
    mapsswe,
    segment_errors,
)
from speechbrain_recursive.analysis.wer import bootstrap_interval, error_rate

_DEBIAN = "/usr/lib/sctk/bin"  # Debian's package sctk keeps its programs off the PATH

REFERENCES = [
    "THE OLD SAILOR FOUND A LITTLE HORSE",
    "WHY DID THE DOCTOR VISIT SEVEN ISLANDS",
    "SHE SOLD GREEN APPLES",
    "NOBODY KNEW",
    "YES",
    "RAIN FELL ON THE QUIET TOWN ALL NIGHT LONG",
    "THE CAT SAT ON THE MAT",
    "HE COUNTED ONE TWO THREE FOUR FIVE SIX",
    "GOOD MORNING",
    "THEY WALKED HOME ALONG THE RIVER",
]
FIRST = [
    "THE OLD TAILOR FOUND A LITTLE",
    "WHY DID THE DOCTOR VISIT HEAVEN ISLANDS",
    "SHE SOLD THE GREEN APPLES NOW",
    "NO BODY NEW",
    "",
    "RAIN FELL ON THE QUIET TOWN ALL NIGHT LONG",
    "CAT SAT THE ON THE MAT",
    "HE COUNTED WON TO THREE FOUR FIFE SIX",
    "GOOD MORNING",
    "THEY TALKED HOME A LONG RIVER",
]
SECOND = [
    "THE OLD SAILOR FOUND A LITTLE HORSE",
    "WHY THE DOCTOR WISHED IT SEVEN ISLANDS",
    "SHE SOLD GREEN APPLES NOW",
    "NOBODY",
    "YES YES",
    "RAIN FELL ON A QUIET TOWN ALL NIGHT ALONG",
    "THE CAT SAT ON THE MAT",
    "HE COUNTED ONE TWO TREE FOUR FIVE SICK",
    "GOOD MORNING",
    "THEY WALKED HOME A LONG THE RIVER",
]
GOLDEN = list(zip(REFERENCES, FIRST, SECOND, strict=True))
GOLDEN_SEGMENTS, GOLDEN_Z = 14, 1.325  # what sc_stats prints for them


def triples(lines, system):
    """Triples of one system (1 or 2) for lines like GOLDEN's."""
    return [(f"u{i}", line[0].split(), line[system].split()) for i, line in enumerate(lines)]


def noisy(seed, count, first, second):
    """Random references and two systems with these probabilities of error."""
    draw = random.Random(seed)
    words = [f"W{i}" for i in range(40)]

    def spoil(reference, rate):
        heard = []
        for word in reference:
            kind = draw.choices("csdi", (1 - rate, rate / 2, rate / 4, rate / 4))[0]
            heard += {"c": [word], "s": [draw.choice(words)], "d": [], "i": [word, draw.choice(words)]}[
                kind
            ]
        return heard

    lines = []
    for _ in range(count):
        reference = draw.choices(words, k=draw.randint(1, 25))
        lines.append(
            [" ".join(x) for x in (reference, spoil(reference, first), spoil(reference, second))]
        )
    return lines


def slow_slots(reference, hypothesis):
    """Error slots of the cheapest of all alignments; from the end, M is preferred to I, and I to D."""

    def alignments(n, m):
        if n == m == 0:
            yield ()
        if n and m:
            yield from (("M", *rest) for rest in alignments(n - 1, m - 1))
        if m:
            yield from (("I", *rest) for rest in alignments(n, m - 1))
        if n:
            yield from (("D", *rest) for rest in alignments(n - 1, m))

    def walk(moves):
        n, m, cost, slots = len(reference), len(hypothesis), 0, [0] * (2 * len(reference) + 1)
        for move in moves:
            if move == "I":
                slots[2 * n] += 1
                cost, m = cost + 3, m - 1
                continue
            wrong = move == "D" or reference[n - 1] != hypothesis[m - 1]
            slots[2 * n - 1] = int(wrong)
            cost += 3 if move == "D" else 4 * wrong
            n, m = n - 1, m - (move == "M")
        return cost, ["MID".index(move) for move in moves], slots

    return min(map(walk, alignments(len(reference), len(hypothesis))))[2]


def slow_segments(first, second):
    """Segments by splitting the utterance, written as letters, at two or more correct words."""
    letters = ""
    for slot, errors in enumerate(zip(first, second, strict=True)):
        letters += "e" if any(errors) else "g" if slot % 2 else "-"
    letters = "".join(c for c in letters if c != "-")
    places = [i for i, e in enumerate(zip(first, second, strict=True)) if any(e) or i % 2]
    found = []
    for piece in re.finditer(r"e(?:g?e)*", letters):
        inside = [places[i] for i in range(*piece.span())]
        found.append((sum(first[i] for i in inside), sum(second[i] for i in inside)))
    return found


def test_the_golden_case():
    test = mapsswe(triples(GOLDEN, 1), triples(GOLDEN, 2))
    assert (test.segments, round(test.z, 3), test.significant) == (GOLDEN_SEGMENTS, GOLDEN_Z, False)


def test_alignment_against_all_alignments():
    draw = random.Random(5)
    for _ in range(300):
        reference, hypothesis = (draw.choices("abc", k=draw.randint(0, 5)) for _ in range(2))
        assert error_slots(reference, hypothesis) == slow_slots(reference, hypothesis)


def test_costs_are_sclites_not_levenshteins():
    # Two substitutions cost 8, deletion, match and insertion 6: with unit costs it is a tie.
    assert error_slots("ab", "bc") == [0, 1, 0, 0, 1]
    # Five substitutions cost 20, three deletions, three insertions and two matches 18.
    assert sum(error_slots("abcde", "dexyz")) == 6


def test_segments_against_a_regular_expression():
    draw = random.Random(6)
    for _ in range(500):
        words = draw.randint(0, 12)
        sides = [[draw.choices((0, 1), (4, 1))[0] for _ in range(2 * words + 1)] for _ in range(2)]
        assert segment_errors(*sides) == slow_segments(*sides)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("a b c d e f", [(1, 0), (1, 0)]),  # two correct words separate the errors at b and e
        ("a b c d e f g", [(1, 0), (1, 1)]),  # an insertion at the end belongs to the last segment
        ("a b c x d e f", [(2, 1)]),  # an insertion between the correct words joins the segments
        ("a b x d e f", [(2, 1)]),  # one correct word is not enough
        ("z a b c d e f", [(1, 1), (1, 0)]),  # an insertion at the start
        ("", [(2, 6)]),
    ],
)
def test_where_segments_end(second, expected):
    reference = list("abcdef")
    slots = [error_slots(reference, text.split()) for text in ("a x c d y f", second)]
    assert segment_errors(*slots) == expected


def test_swapping_the_systems_turns_the_sign():
    lines = noisy(7, 80, 0.3, 0.2)
    there = mapsswe(triples(lines, 1), triples(lines, 2))
    back = mapsswe(triples(lines, 2), triples(lines, 1))
    assert (back.z, back.p, back.segments) == (-there.z, there.p, there.segments)
    assert there.z > 0  # the second has fewer errors


def test_no_difference_at_all():
    same = mapsswe(triples(GOLDEN, 1), triples(GOLDEN, 1))
    assert (same.z, same.p, same.significant) == (0.0, 1.0, False)
    perfect = [(uid, words, words) for uid, words, _ in triples(GOLDEN, 1)]
    assert mapsswe(perfect, perfect).segments == 0


def test_p_is_two_tailed():
    lines = noisy(8, 60, 0.3, 0.2)
    test = mapsswe(triples(lines, 1), triples(lines, 2))
    assert test.p == pytest.approx(2 * norm.sf(abs(test.z)))
    assert test.significant == (test.p < 0.05)


def nist(lines, folder):
    """Segments, z and verdict of NIST's programs."""
    programs = {
        name: shutil.which(name) or shutil.which(name, path=_DEBIAN) for name in ("sclite", "sc_stats")
    }
    if not all(programs.values()):
        pytest.skip("sclite and sc_stats are not installed (Debian's package sctk)")
    names = ("ref", "first", "second")
    for column, name in enumerate(names):
        text = "".join(f"{line[column]} (spk{i % 3}_{i:04d})\n" for i, line in enumerate(lines))
        (folder / f"{name}.trn").write_text(text)
    aligned = ""
    for name in names[1:]:
        files = ["-r", "ref.trn", "trn", "-h", f"{name}.trn", "trn"]
        command = [programs["sclite"], "-s", *files, "-i", "swb", "-o", "sgml", "-f", "0"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        aligned += (folder / f"{name}.trn.sgml").read_text()
    command = [programs["sc_stats"], "-p", "-t", "mapsswe", "-v", "-n", "-"]
    said = subprocess.run(command, cwd=folder, input=aligned, text=True, capture_output=True).stdout
    found = re.search(r"# segs: (\d+).*Z Stat: +(-?[\d.]+)\) \(Stat Diff: (\w+)\)", said)
    return int(found[1]), float(found[2]), found[3] == "Yes"


@pytest.mark.parametrize(
    "lines",
    [
        GOLDEN,
        noisy(1, 200, 0.2, 0.16),
        noisy(2, 200, 0.1, 0.09),
        noisy(3, 100, 0.6, 0.7),
        noisy(4, 200, 0.02, 0.03),
    ],
    ids=["golden", "better", "like", "bad", "good"],
)
def test_sc_stats_says_the_same(lines, tmp_path):
    segments, z, significant = nist(lines, tmp_path)
    test = mapsswe(triples(lines, 1), triples(lines, 2))
    assert test.segments == segments
    assert test.z == pytest.approx(z, abs=0.001)  # sc_stats prints three digits
    assert test.significant == significant


def test_bootstrap_is_paired_and_seeded():
    draw = np.random.default_rng(0)
    lengths = draw.integers(5, 30, 200)
    first = draw.binomial(lengths, 0.3)
    second = np.maximum(first - draw.integers(0, 2, 200), 0)
    gap = bootstrap_difference(first, second, lengths)
    assert gap == bootstrap_difference(first, second, lengths)
    assert gap != bootstrap_difference(first, second, lengths, seed=1)
    assert gap.points == pytest.approx(100 * (second.sum() - first.sum()) / lengths.sum())
    assert gap.low < gap.points < gap.high < 0
    assert gap.improved == 1.0
    alone = bootstrap_interval(first, lengths)
    assert gap.high - gap.low < (alone[1] - alone[0]) / 3  # the difficulty of the utterances cancels out


def test_bootstrap_interval_covers_the_truth():
    """About 95% of the intervals contain the true difference of two systems."""
    draw = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        lengths = draw.integers(5, 20, 120)
        first, second = draw.binomial(lengths, 0.30), draw.binomial(lengths, 0.25)
        gap = bootstrap_difference(first, second, lengths, resamples=400, seed=seed)
        covered += gap.low <= -5.0 <= gap.high
    assert 178 <= covered <= 200  # 190 +- 4 standard deviations


def test_bootstrap_by_listing_every_draw():
    first, second, lengths = (3, 0, 1), (1, 1, 1), (4, 5, 6)
    rates = []
    for draw in itertools.product(range(3), repeat=3):
        change = sum(second[i] - first[i] for i in draw)
        rates.append((100 * change / sum(lengths[i] for i in draw), change))
    gap = bootstrap_difference(first, second, lengths, resamples=40_000)
    better = sum((c < 0) + (c == 0) / 2 for _, c in rates) / len(rates)
    assert gap.improved == pytest.approx(better, abs=0.02)
    assert gap.points == pytest.approx(error_rate_change(first, second, lengths))
    assert min(rates)[0] <= gap.low < gap.high <= max(rates)[0]
    assert not math.isclose(gap.low, gap.high)


def error_rate_change(first, second, lengths):
    """Difference of WERs through the scorer, from counts of errors."""

    def rate(errors):
        spoken = [("x" * n, "y" * e + "x" * (n - e)) for n, e in zip(lengths, errors, strict=True)]
        return error_rate([(f"u{i}", ref, hyp) for i, (ref, hyp) in enumerate(spoken)], resamples=2).wer

    return rate(second) - rate(first)
