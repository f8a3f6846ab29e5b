"""Two runs are paired by utterance, and errors name what cannot be paired."""

import re

import pytest

from speechbrain_recursive.analysis.pairs import read_pairs
from speechbrain_recursive.errors import UserError

TEXTS = {"u1": ("A CAT", "A HAT"), "u2": ("YES", "YES")}


def test_pairs_by_utterance_whatever_the_order(results_folder):
    first = results_folder("a", TEXTS)
    second = results_folder(
        "b", {"u2": ("YES", ""), "u1": ("A CAT", "A CAT")}, labels=("4", "8"), trained="8"
    )
    (pair,) = read_pairs(first, second)
    assert (pair.split, pair.decoder, pair.labels, pair.metric) == (
        "test-clean",
        "greedy",
        ("4", "8"),
        "wer",
    )
    assert pair.first == [("u1", ["A", "CAT"], ["A", "HAT"]), ("u2", ["YES"], ["YES"])]
    assert pair.second == [("u1", ["A", "CAT"], ["A", "CAT"]), ("u2", ["YES"], [])]


@pytest.mark.parametrize(("given", "labels"), [(["1"], ("1", "1")), (["1", "4"], ("1", "4"))])
def test_labels_are_one_or_two(results_folder, given, labels):
    folder = results_folder("a", TEXTS)
    assert read_pairs(folder, folder, labels=given)[0].labels == labels


def test_labels_of_any_depth(results_folder):
    label = "20 (phonetic x2, linguistic x3)"
    folder = results_folder("a", TEXTS, labels=("9", label), trained=label)
    assert read_pairs(folder, folder)[0].labels == (label, label)
    assert read_pairs(folder, folder, labels=["9", label])[0].labels == ("9", label)


def test_the_default_decoder_is_the_first_of_the_first_report(results_folder):
    other = {"split": "test-clean", "label": "4", "decoder": "greedy", "id": "u1", "reference": "A CAT"}
    first = results_folder("a", TEXTS, decoder="viterbi", extra=[{**other, "hypothesis": ""}])
    second = results_folder("b", TEXTS, decoder="viterbi")
    assert read_pairs(first, second)[0].decoder == "viterbi"
    assert read_pairs(first, first, "greedy")[0].first == [("u1", ["A", "CAT"], [])]
    with pytest.raises(UserError, match=r"has no hypotheses of test-clean by viterbi"):
        read_pairs(first, results_folder("c", TEXTS))


def test_characters_where_the_metric_is_cer(results_folder):
    folder = results_folder("a", {"u1": ("今 天 好", "今 天")}, metric="cer")
    (pair,) = read_pairs(folder, folder)
    assert pair.metric == "cer"
    assert pair.first == [("u1", ["今", "天", "好"], ["今", "天"])]


def test_test_sets_in_common(results_folder):
    other = {"split": "test-other", "label": "4", "decoder": "greedy", "id": "o", "reference": "A"}
    first = results_folder("a", TEXTS, extra=[{**other, "hypothesis": "B"}])
    both = results_folder("b", TEXTS, extra=[{**other, "hypothesis": ""}])
    assert [pair.split for pair in read_pairs(first, both)] == ["test-clean", "test-other"]
    assert [pair.split for pair in read_pairs(first, both, split="test-other")] == ["test-other"]
    assert [pair.split for pair in read_pairs(first, results_folder("c", TEXTS))] == ["test-clean"]


def test_mistakes_are_named(results_folder, tmp_path):
    first = results_folder("a", TEXTS)

    def says(message, folder, **options):
        with pytest.raises(UserError, match=re.escape(message)) as error:
            read_pairs(first, folder, **options)
        assert "\n" not in str(error.value)

    says(f"{tmp_path / 'none' / 'hypotheses.json'} does not exist", tmp_path / "none")
    fewer = results_folder("fewer", {"u1": TEXTS["u1"]})
    says(f"only {first} has u2", fewer)
    more = results_folder("more", {**TEXTS, "u3": ("NO", "NO"), "u4": ("NO", "NO")})
    says(f"only {more} has u3 and 1 more", more)
    changed = results_folder("changed", {**TEXTS, "u2": ("NO", "YES")})
    says(f"utterance u2 of test-clean has another reference in {changed}", changed)
    says(f"no test set in common: {first} has test-clean", results_folder("c", TEXTS, split="eval"))
    says(f"{first} has no hypotheses of test-clean by joint at loops 4; it has", first, decoder="joint")
    says("at loops 9; it has greedy at loops 1; greedy at loops 4", first, labels=["9"])
    says("by greedy at loops 4; it has none of that split", first, split="dev")
    says(f"counts WER and {results_folder('cer', TEXTS, metric='cer')} counts CER", tmp_path / "cer")
    (fewer / "report.json").write_text("{}")
    says(f"{fewer}: hypotheses.json and report.json are not what a run writes", fewer)
    (more / "hypotheses.json").write_text('[\n{"split" 1}]')
    says(f"{more / 'hypotheses.json'}, line 2:", more)
