"""Scoring by NIST's rules: what is counted, and that NIST's own programs count the same."""

import random

import pytest

from speechbrain_recursive.analysis import nist
from speechbrain_recursive.analysis.nist import NistScorer, Place
from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.glm import GLM
from speechbrain_recursive.errors import UserError

RULES = """;; rules
* case_sensitive = 'F'
UH => [(%HESITATION)] / [ ] __ [ ]
OK => O. K. / [ ] __ [ ]
T. => TEE / __ [ SHIRT]
;; INPUT_DEPENDENT_APPLICATION = "ctm"
DON'T => [{DON'T / DO NOT}] / [ ] __ [ ]
"""
SPOKEN = ["uh", "ok", "don't", "do", "not", "t.", "shirt", "summer", "uh-huh", "th-", "thing", "-ing"]
WRITTEN = [*SPOKEN, "(%hesitation)", "{ ok / all right }", "(do not)"]


@pytest.fixture
def glm(tmp_path):
    (tmp_path / "a.glm").write_text(RULES)
    return tmp_path / "a.glm"


@pytest.fixture
def without_programs(monkeypatch, tmp_path):
    """A machine that does not have NIST's programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nist, "DEBIAN", str(tmp_path))


def triples(count):
    """Random utterances, in turns of both sides of some conversations."""
    rng = random.Random(0)
    places = {
        f"u{i}": Place(f"sw_{i // 10:02d}", "AB"[i % 2], 10.0 * i + 0.5, 10 * i + 8)
        for i in range(count)
    }
    some = [
        (
            uid,
            *(" ".join(rng.choices(words, k=rng.randint(1, 8))).split() for words in (WRITTEN, SPOKEN)),
        )
        for uid in places
    ]
    return places, some


def test_both_sides_pass_the_rules(glm, without_programs):
    places = {uid: Place("sw_4390", "A", 0.0, 1.0) for uid in "ab"}
    scored = NistScorer(places, GLM(glm))(
        [
            (
                "a",
                ["(%HESITATION)", "I", "DO", "NOT", "LIKE", "SUMMER"],
                ["I", "DON'T", "LIKE", "SUMMER", "UH"],
            ),
            ("b", ["OK"], ["DRUMMER"]),
        ]
    )
    assert scored.rate.errors == (0, 2)
    assert scored.rate.lengths == (7, 2)
    assert scored.rate.wer == pytest.approx(100 * 2 / 9)
    assert scored.rate.low <= scored.rate.wer <= scored.rate.high
    assert scored.more == {}
    assert scored.triples[1] == ("b", ["O.", "K."], ["DRUMMER"])


def test_its_triples_count_nearly_the_same(glm, without_programs):
    places, some = triples(300)
    scored = NistScorer(places, GLM(glm))(some)
    assert error_rate(scored.triples).wer == pytest.approx(scored.rate.wer, rel=0.03)


@pytest.mark.parametrize("words", [["{", "A"], ["(A"], ["A", "}"]])
def test_a_reference_that_cannot_be_scored_is_named(glm, words):
    scorer = NistScorer({}, GLM(glm))
    scorer.check({"a": "{ A / B } (UH)"})
    with pytest.raises(UserError, match=r"^the reference of b cannot be scored \(.*not"):
        scorer.check({"a": "A", "b": " ".join(words)})


INSTALLED = nist.installed()


@pytest.mark.skipif(not INSTALLED, reason="NIST's sclite is not installed")
@pytest.mark.parametrize("rules", [True, False])
def test_sclite_counts_the_same(glm, rules):
    places, some = triples(300)
    scored = NistScorer(places, GLM(glm if rules else None))(some)
    assert scored.more["sclite"] == pytest.approx(scored.rate.wer, abs=0.1)


@pytest.mark.skipif(not INSTALLED, reason="NIST's sclite is not installed")
def test_where_nothing_was_recognized_all_words_are_deleted(glm):
    places, some = triples(20)
    some = [(uid, reference, []) for uid, reference, _ in some]
    scored = NistScorer(places, GLM(glm))(some)
    assert scored.more["sclite"] == pytest.approx(scored.rate.wer)
