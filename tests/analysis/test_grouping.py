"""Groups against a search by hand, and keys that build what BiCycle says."""

import numpy as np
import pytest

from speechbrain_recursive.analysis.grouping import (
    choose_grouping,
    group,
    grouping_report,
    groupings,
    propose_grouping,
    student_keys,
    student_layers,
)
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.layer_maps import stepwise
from speechbrain_recursive.nn.schedule import bicycle


def two_levels(n, p, noise=0.01, obscure=0.8):
    """CAD of n layers and four heads: wide below layer p, diagonal above it."""
    draw = np.random.default_rng(n + p)
    cad = np.where(np.arange(n) < p, 0.7, 0.9)
    cad[p] = obscure
    return cad[:, None] + draw.normal(0, noise, (n, 4))


def test_the_papers_teacher():
    chosen = propose_grouping(two_levels(18, 7))
    assert chosen.n_phonetic == 7
    assert chosen.layers == "phonetic 0-6, obscure 7, linguistic 8-17"
    assert chosen.phonetic == pytest.approx(0.7, abs=0.01)
    assert chosen.linguistic == pytest.approx(0.9, abs=0.01)
    assert student_keys(chosen) == {"n_teacher": 18, "n_phonetic": 7, "n_layers": 9}
    assert student_layers(18, 7) == (4, 5)


@pytest.mark.parametrize("p", [3, 5, 9])
def test_the_obscure_layer_is_found_wherever_it_is(p):
    assert propose_grouping(two_levels(13, p)).n_phonetic == p


def test_error_of_every_grouping():
    cad = np.random.default_rng(0).random((9, 2))
    mean = cad.mean(1)
    for p, found in enumerate(groupings(cad), 1):
        parts = [mean[:p], mean[p + 1 :]]
        squares = [(value - part.mean()) ** 2 for part in parts for value in part]
        assert len(squares) == 8
        assert found.error == pytest.approx(np.sqrt(np.mean(squares)))
        assert (found.n_phonetic, found.obscure) == (p, pytest.approx(mean[p]))
    possible = [each for each in groupings(cad) if 3 <= each.n_phonetic <= 5]
    assert propose_grouping(cad) == min(possible, key=lambda each: each.error)


def test_every_proposal_gives_a_student():
    for n in range(7, 20):
        for p in range(3, n - 3):
            found = group(np.zeros((n, 1)), p)
            for size in (None, (p + 1) // 2 + 2):
                ours = student_layers(n, p, size)
                assert len(stepwise(n, sum(ours), p)) == bicycle(*ours, 1, 1).n_layers
                assert student_keys(found, size)["n_layers"] == sum(ours)
        with pytest.raises(ValueError, match="which offers"):
            stepwise(n, sum(student_layers(n, 3)) + 1, 3)  # there are no more layers


@pytest.mark.parametrize("p", [-1, 0, 17, 18, 40])
def test_a_group_without_layers(p):
    with pytest.raises(UserError, match=f"--n_phonetic {p}: 18 layers leave .*; choose 1 to 16$"):
        group(np.zeros((18, 1)), p)


@pytest.mark.parametrize(
    ("p", "size", "said"),
    [
        (2, None, "--n_phonetic 2: a student of 9 layers would have 1 phonetic and 8 linguistic ones"),
        (15, None, "--n_phonetic 15: a student of 9 layers would have 8 phonetic and 1 linguistic ones"),
        (7, 5, "--n_phonetic 7: a student of 5 layers would have 4 phonetic and 1 linguistic ones"),
        (7, 12, "--student_layers 12: n_phonetic: 7 gives the student 4 of its 12 layers"),
    ],
)
def test_a_student_that_cannot_be_made(p, size, said):
    with pytest.raises(UserError, match=said) as error:
        student_keys(group(np.zeros((18, 1)), p), size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_too_few_layers(n):
    cad = np.zeros((n, 1))
    assert propose_grouping(cad) is None
    assert choose_grouping(cad) == (None, None)
    assert (
        grouping_report(cad, None) == f"{n} layers are too few for BiCycle's groups, which take seven."
    )
    assert propose_grouping(np.zeros((7, 1))).n_phonetic == 3


def test_report():
    cad = two_levels(18, 7)
    text = grouping_report(cad, *choose_grouping(cad))
    rows = text.split("| phonetic layers")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == 16
    assert [row.split()[1] for row in rows if "(chosen)" in row] == ["7"]
    assert "not stated in the paper; our choice" in text
    assert "phonetic 0-6, obscure 7, linguistic 8-17." in text
    assert "starts from layers 0, 2, 4, 6 and 9, 11, 13, 15, 17. Its schedule is bicycle(" in text
    assert "(n_phonetic=4, n_linguistic=5, ...)" in text
    assert text.endswith("```yaml\nn_teacher: 18\nn_phonetic: 7\nn_layers: 9\n```")
    assert "not more diagonal" not in text
    upside_down = cad[::-1]
    assert "not more diagonal" in grouping_report(upside_down, *choose_grouping(upside_down, 7))


def test_the_user_overrules():
    cad = two_levels(18, 7)
    chosen, keys = choose_grouping(cad, n_phonetic=5, n_student=8)
    assert chosen == group(cad, 5) != propose_grouping(cad)
    assert keys == {"n_teacher": 18, "n_phonetic": 5, "n_layers": 8}
    text = grouping_report(cad, chosen, keys)
    assert "A student of 8 layers starts from layers 0, 2, 4 and 9, 11, 13, 15, 17." in text
    assert "| 5 (chosen) " in text
