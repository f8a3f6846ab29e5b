"""Which layers a smaller model starts from."""

import pytest

from speechbrain_recursive.nn.layer_maps import first, kept, random, shared_mean, stepwise, uniform


def equations(n_teacher, n_student, n_phonetic):
    """The two equations of "Step-wise Initialization", counted from 1 as there."""
    p_bi = (n_phonetic + 1) // 2
    start = {i: 2 * i - 1 for i in range(1, p_bi + 1)}
    start |= {n_student - (j - 1): n_teacher - 2 * (j - 1) for j in range(1, n_student - p_bi + 1)}
    return [start[layer] for layer in range(1, n_student + 1)]


def test_the_paper_starts_from_these_layers():
    chosen = [layer + 1 for (layer,) in stepwise(18, 9, n_phonetic=7)]
    assert chosen == [1, 3, 5, 7, 10, 12, 14, 16, 18] == equations(18, 9, 7)


@pytest.mark.parametrize("n_teacher", [4, 7, 12, 18])
def test_stepwise_is_what_the_equations_say_or_refused(n_teacher):
    tried = 0
    for n_phonetic in range(1, n_teacher + 1):
        for n_student in range(1, n_teacher + 1):
            p_bi = (n_phonetic + 1) // 2
            fits = n_phonetic <= n_teacher - 2 and p_bi < n_student
            if fits and min(equations(n_teacher, n_student, n_phonetic)[p_bi:]) > n_phonetic + 1:
                chosen = stepwise(n_teacher, n_student, n_phonetic)
                assert [layer + 1 for (layer,) in chosen] == equations(n_teacher, n_student, n_phonetic)
                tried += 1
            elif fits and min(equations(n_teacher, n_student, n_phonetic)[p_bi:]) == n_phonetic + 1:
                with pytest.raises(ValueError, match="n_phonetic"):  # it would take the obscure layer
                    stepwise(n_teacher, n_student, n_phonetic)
            else:
                with pytest.raises(ValueError, match="n_phonetic"):
                    stepwise(n_teacher, n_student, n_phonetic)
    assert tried > 0


def test_the_others():
    assert uniform(18, 9)[0] == (0,)
    assert uniform(18, 9)[-1] == (17,)
    assert len(set(uniform(18, 9))) == 9
    assert uniform(5, 1) == ((0,),)
    assert first(18, 3) == ((0,), (1,), (2,))
    assert shared_mean(18, 9)[2] == (2, 11)
    assert sorted(layer for layers in shared_mean(7, 3) for layer in layers) == list(range(7))
    assert random(4, 2) == ((), ())
    assert kept(4, 2, layers=[1, 3]) == ((1,), (3,))


@pytest.mark.parametrize("layers", [uniform, first, shared_mean])
def test_a_student_with_more_layers_is_refused(layers):
    with pytest.raises(ValueError, match="9 layers cannot start from the 4 layers"):
        layers(4, 9)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([0, 1, 2], r"\[0, 1, 2\] names 3 layers; the model has 2"),
        ([0, 4], r"\[0, 4\] is to name layers from 0 to 3, in their order"),
        ([3, 0], r"\[3, 0\] is to name layers"),
        ([1, 1], r"\[1, 1\] is to name layers"),
    ],
)
def test_layers_that_cannot_be_kept(layers, said):
    with pytest.raises(ValueError, match=f"kept: {said}"):
        kept(4, 2, layers)
