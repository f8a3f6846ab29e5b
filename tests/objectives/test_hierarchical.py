"""Equations 2 to 5 against loops over utterances, tokens and dimensions."""

import math
from types import SimpleNamespace

import pytest
import torch
from speechbrain.dataio.batch import PaddedData

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.state import State
from speechbrain_recursive.objectives.hierarchical import (
    Contrastive,
    Cosine,
    HierarchicalDistillation,
    Level,
    SquaredError,
)

ROWS = [[4, 5, 4, 2], [4, 2], [6, 7, 2]]
COUNTS = [len(row) for row in ROWS]
PLACES = [(n, i) for n, count in enumerate(COUNTS) for i in range(count)]


def batch_of(rows, value=9):
    width = max(map(len, rows))
    data = torch.tensor([row + [value] * (width - len(row)) for row in rows])
    return SimpleNamespace(tokens_eos=PaddedData(data, torch.tensor([len(r) / width for r in rows])))


def case(counts=COUNTS, seed=0, more=0):
    """Random states of cif and decoder [3, 4, 5] and of the teacher [3, 4, 6]; padding is not zero."""
    generator = torch.Generator().manual_seed(seed)
    cif, decoder = torch.randn(2, 3, max(counts) + more, 5, generator=generator).requires_grad_()
    teacher = torch.randn(3, 4, 6, generator=generator)
    states = {
        "cif": State(cif, pad=pad_mask(torch.tensor(counts), cif.shape[1])),
        "decoder": State(decoder, pad=pad_mask(torch.tensor(counts), cif.shape[1])),
    }
    return SimpleNamespace(states=states, teachers={"bert": teacher})


def distillation(loss, part="cif", **options):
    torch.manual_seed(1)
    return HierarchicalDistillation({"it": Level(part, loss, [5, 6])}, **options)


def projected(objective, outputs, part="cif"):
    """From place (n, i) to the projected vector, as a list."""
    project = objective.levels["it"].project
    x = outputs.states[part].x.detach()
    return {
        (n, i): [
            sum(float(w) * float(v) for w, v in zip(row, x[n, i], strict=True)) + float(bias)
            for row, bias in zip(project.weight, project.bias, strict=True)
        ]
        for n, i in PLACES
    }


def mean_of(each):
    """1/N sum_n 1/I_n sum_i."""
    return sum(sum(each[n, i] for i in range(count)) / count for n, count in enumerate(COUNTS)) / len(
        COUNTS
    )


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(a):
    return [x / math.sqrt(dot(a, a)) for x in a]


@pytest.mark.parametrize("part", ["cif", "decoder"])
def test_squared_error_is_equations_3_and_5(part):
    objective, outputs = distillation(SquaredError(0.01), part), case()
    student, teacher = projected(objective, outputs, part), outputs.teachers["bert"]
    each = {
        (n, i): 0.01
        * sum((float(e) - c) ** 2 for c, e in zip(student[n, i], teacher[n, i], strict=True))
        for n, i in PLACES
    }
    assert float(objective(outputs, batch_of(ROWS))["it"]) == pytest.approx(mean_of(each), rel=1e-5)


def test_cosine_is_equation_4():
    objective, outputs = distillation(Cosine(10.0)), case()
    student, teacher = projected(objective, outputs), outputs.teachers["bert"].tolist()
    each = {(n, i): 10 * (1 - dot(unit(student[n, i]), unit(teacher[n][i]))) for n, i in PLACES}
    assert float(objective(outputs, batch_of(ROWS))["it"]) == pytest.approx(mean_of(each), rel=1e-5)


def contrastive_reference(student, teacher, negatives, temperature):
    """Equation 2; `negatives` are the places of the drawn tokens of each place."""

    def s(x, y):
        return math.exp(dot(unit(x), unit(y)) / temperature)

    each = {}
    for n, i in PLACES:
        positive = s(student[n, i], teacher[n][i])
        others = sum(s(student[n, i], teacher[m][j]) for m, j in negatives[n, i])
        each[n, i] = -math.log(positive / (others + positive))
    return mean_of(each)


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("negatives", [700, 3])
def test_contrastive_is_equation_2(negatives, copies):
    loss = Contrastive(0.5, negatives, exclude_copies=copies)
    objective, outputs = distillation(loss), case()
    flat = [token for row in ROWS for token in row]
    allowed = [[j for j in range(9) if j != i and not (copies and flat[i] == flat[j])] for i in range(9)]
    torch.manual_seed(5)
    if negatives == 3:  # the draw is the method's own; what it may be is tested below
        mask = torch.tensor([[j in row for j in range(9)] for row in allowed])
        drawn = [row.nonzero().flatten().tolist() for row in loss._drawn(mask)]
    else:
        drawn = allowed
    of_place = {place: [PLACES[j] for j in row] for place, row in zip(PLACES, drawn, strict=True)}
    teacher = outputs.teachers["bert"].tolist()
    expected = contrastive_reference(projected(objective, outputs), teacher, of_place, 0.5)
    torch.manual_seed(5)
    assert float(objective(outputs, batch_of(ROWS))["it"]) == pytest.approx(expected, rel=1e-5)


def test_negatives_are_drawn_evenly_and_without_replacement():
    torch.manual_seed(0)
    loss = Contrastive(negatives=3)
    others = ~torch.eye(8, dtype=torch.bool)
    others[0, 2:] = False  # one is left, which is fewer than asked for
    counts = torch.zeros(8, 8)
    for _ in range(400):
        drawn = loss._drawn(others)
        assert not (drawn & ~others).any()
        assert drawn.sum(1).tolist() == [1, *[3] * 7]
        counts += drawn
    rates = counts[1:][others[1:]] / 400
    assert float((rates - 3 / 7).abs().max()) < 0.12  # five standard deviations


def test_a_token_without_others_costs_nothing():
    states, tokens = torch.randn(1, 6, requires_grad=True), torch.tensor([4])
    loss = Contrastive()(states, torch.randn(1, 6), tokens)
    assert loss.tolist() == [0.0]
    assert torch.autograd.grad(loss.sum(), states)[0].isfinite().all()
    same = Contrastive(exclude_copies=True)(torch.randn(3, 6), torch.randn(3, 6), tokens.repeat(3))
    assert same.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("loss", [Contrastive(0.1), Contrastive(0.1, 2), SquaredError(), Cosine()])
def test_padding_does_not_leak(loss):
    found = []
    for filler in (0.0, 1e4):
        objective, outputs = distillation(loss), case(more=2)
        for state in outputs.states.values():
            state.x.data[state.pad] = filler
        past = pad_mask(torch.tensor(COUNTS), 4)
        outputs.teachers["bert"][past] = filler
        torch.manual_seed(2)
        value = objective(outputs, batch_of(ROWS, value=int(filler % 7)))["it"]
        (gradient,) = torch.autograd.grad(value, outputs.states["cif"].x)
        assert (gradient[outputs.states["cif"].pad] == 0).all()
        assert (gradient[~outputs.states["cif"].pad].abs().sum(1) > 0).all()
        found.append(float(value))
    assert found[0] == found[1]


def test_where_firings_differ_from_tokens_those_of_both_are_compared():
    objective = distillation(SquaredError())
    outputs = case(counts=[2, 2, 5])  # of 4, 2 and 3 tokens
    student, teacher = outputs.states["cif"].x, outputs.teachers["bert"]
    project = objective.levels["it"].project
    expected = [
        0.01 * (project(student[n, :k]) - teacher[n, :k]).square().sum() / k
        for n, k in enumerate([2, 2, 3])
    ]
    found = objective(outputs, batch_of(ROWS))["it"]
    torch.testing.assert_close(found, sum(expected) / 3)
    sums = distillation(SquaredError(), reduction="batchmean")(outputs, batch_of(ROWS))["it"]
    torch.testing.assert_close(sums, sum(k * x for k, x in zip([2, 2, 3], expected, strict=True)) / 3)


def test_it_can_be_learned():
    objective, outputs = distillation(Contrastive(0.1)), case()
    before = float(objective(outputs, batch_of(ROWS))["it"])
    for _ in range(40):
        value = objective(outputs, batch_of(ROWS))["it"]
        for weights, step in zip(
            objective.parameters(), torch.autograd.grad(value, [*objective.parameters()]), strict=True
        ):
            weights.data -= 0.1 * step
    assert float(value) < 0.4 * before


def test_under_autocast_it_stays_in_float32():
    objective, outputs = distillation(Contrastive()), case()
    expected = objective(outputs, batch_of(ROWS))["it"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(outputs, batch_of(ROWS))["it"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_what_cannot_be_compared_is_named():
    outputs = case()
    with pytest.raises(UserError, match=r"'bert' have 6 values, not 7: set --teacher_width 6"):
        HierarchicalDistillation({"it": Level("cif", Cosine(), [5, 7])})(outputs, batch_of(ROWS))
    with pytest.raises(UserError, match="it: the model has no part 'other'"):
        distillation(Cosine(), "other")(outputs, batch_of(ROWS))
    with pytest.raises(UserError, match="give it a level"):
        HierarchicalDistillation({})
    with pytest.raises(UserError, match="temperature 0: must be above 0"):
        Contrastive(0)
    with pytest.raises(UserError, match=r"negatives 0\.5: a number of at least 1"):
        Contrastive(negatives=0.5)
