"""Equation 4 of Foldable against loops over frames and tokens; where its gradients go."""

import math
from itertools import groupby, product

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request, Run
from speechbrain_recursive.nn.schedule import cycle, latent, standard, unfold
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.foldable import Foldable
from speechbrain_recursive.objectives.intermediate_ctc import IntermediateCTC
from speechbrain_recursive.objectives.joint import Joint
from speechbrain_recursive.objectives.seq2seq import Seq2Seq
from speechbrain_recursive.objectives.stages import Stages

DEEP, SEED = Depth(cycle(1, 3)), Depth(cycle(1, 1))  # of what make_case returns
ROWS, FRAMES = [[1, 2], [2], [1]], [4, 3, 4]


def joint(reduction="batchmean"):
    parts = [CTC(reduction), Seq2Seq(0.1, reduction)]
    return Joint(parts, {"ctc": 0.3, "seq2seq": 0.7})


@pytest.fixture
def two_runs(make_case):
    """``two_runs(padding)``: deep outputs with a seed's beside them, and the batch."""

    def build(extra_frames=0):
        deep, batch = make_case(ROWS, FRAMES, extra_frames=extra_frames, seed=1)
        seed, _ = make_case(ROWS, FRAMES, extra_frames=extra_frames, seed=2)
        seed.depth, deep.runs["seed"] = SEED, seed
        return deep, batch

    return build


def ctc(p, tokens, frames):
    """-log of the probability of all alignments of an utterance."""
    total = 0.0
    for path in product(range(4), repeat=frames):
        if [token for token, _ in groupby(path) if token] == tokens:
            total += math.prod(p[frame][token] for frame, token in enumerate(path))
    return -math.log(total)


def smoothed(p, tokens):
    """KL from the smoothed targets of an utterance's tokens and <eos> (token 3)."""
    total = 0.0
    for step, token in enumerate([*tokens, 3]):
        for v in range(4):
            target = 0.9 if v == token else 0.1 / 3
            total += target * (math.log(target) - math.log(p[step][v]))
    return total


def kl(p, q, steps):
    return sum(p[n][v] * math.log(p[n][v] / q[n][v]) for n in range(steps) for v in range(4))


def by_loops(outputs, reduction):
    """The three terms of equation 4."""
    deep, seed = (
        [tensor.exp().tolist() for tensor in (run.log_probs, run.decoded)]
        for run in (outputs, outputs.runs["seed"])
    )
    terms = {"deep": 0.0, "seed": 0.0, "kl": 0.0}
    for row, (tokens, frames) in enumerate(zip(ROWS, FRAMES, strict=True)):
        per_token = reduction == "mean"
        of_ctc = 0.3 / (len(tokens) if per_token else 1)
        of_decoder = 0.7 / (len(tokens) + 1 if per_token else 1)
        for name, (frame_p, token_p) in (("deep", deep), ("seed", seed)):
            terms[name] += of_ctc * ctc(frame_p[row], tokens, frames)
            terms[name] += of_decoder * smoothed(token_p[row], tokens)
        terms["kl"] += of_ctc * kl(deep[0][row], seed[0][row], frames)
        terms["kl"] += of_decoder * kl(deep[1][row], seed[1][row], len(tokens) + 1)
    return {name: total / len(ROWS) for name, total in terms.items()}


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_equation_4(two_runs, reduction):
    outputs, batch = two_runs()
    terms = by_loops(outputs, reduction)
    losses = Foldable(joint(reduction), seed_weight=0.25, kl_weight=0.1)(outputs, batch)
    parts = {"ctc", "seq2seq"}
    names = {f"{run}_{part}" for run in ("deep", "seed") for part in parts}
    assert losses.keys() == {*names, "kl", "loss"}
    for run in ("deep", "seed"):
        total = 0.3 * losses[f"{run}_ctc"] + 0.7 * losses[f"{run}_seq2seq"]
        assert float(total) == pytest.approx(terms[run], rel=1e-5)
    assert float(losses["kl"]) == pytest.approx(terms["kl"], rel=1e-5)
    expected = terms["deep"] + 0.25 * terms["seed"] + 0.1 * terms["kl"]
    assert float(losses["loss"]) == pytest.approx(expected, rel=1e-5)


def test_padding_does_not_count(two_runs):
    objective, found = Foldable(joint()), []
    for extra_frames in (0, 5):
        outputs, batch = two_runs(extra_frames)
        outputs.runs["seed"].decoded.data[1:, 2:] += extra_frames  # past the <eos> of both
        outputs.log_probs.data[:, 4:] *= 3.0
        losses = objective(outputs, batch)
        losses["kl"].backward()
        assert not outputs.runs["seed"].log_probs.grad[1, 3:].any()
        found.append(losses)
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


def test_the_divergence_has_no_gradient_for_the_deep_run(two_runs):
    outputs, batch = two_runs()
    seed = outputs.runs["seed"]
    Foldable(joint())(outputs, batch)["kl"].backward()
    assert outputs.log_probs.grad is None
    assert outputs.decoded.grad is None
    assert seed.log_probs.grad[0].ne(0).all()
    assert seed.decoded.grad[0].ne(0).all()


@pytest.mark.parametrize(("kl_weight", "names"), [(0.0, set()), (0.1, {"kl"})])
def test_a_term_of_weight_zero_is_left_out(two_runs, kl_weight, names):
    outputs, batch = two_runs()
    losses = Foldable(joint(), seed_weight=0.0, kl_weight=kl_weight)(outputs, batch)
    assert losses.keys() == {"deep_ctc", "deep_seq2seq", "loss"} | names


@pytest.mark.parametrize("depth", [DEEP, SEED, Depth(standard(2)), Depth(unfold(3, 7))])
def test_without_a_seed_it_is_the_plain_objective_to_the_bit(make_case, depth):
    weights = (0.25, 0.1) if len(depth) in (1, 2) else (0.0, 0.0)
    objective, plain = Foldable(joint(), *weights), joint()
    assert objective.needs(depth) == plain.needs(depth)
    results = []
    for each in (objective, plain):
        outputs, batch = make_case(ROWS, FRAMES)
        outputs.depth = depth
        losses = each(outputs, batch)
        losses["loss"].backward()
        results.append([losses["loss"], outputs.log_probs.grad, outputs.decoded.grad])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_what_it_asks_for():
    heads = Request(["ctc", "seq2seq"])
    for schedule in (unfold(4, 10), latent(2, 3, 1, 1)):
        seed = Run(Depth(schedule.with_loops(1)), heads)
        expected = heads | Request(runs={"seed": seed})
        assert Foldable(joint()).needs(Depth(schedule)) == expected
        assert Foldable(joint()).requests(Depth(schedule)) == [expected]
    assert Foldable(joint(), 0.0, 0.1).needs(DEEP).runs["seed"].depth == SEED


def test_it_asks_for_what_other_objectives_need():
    """Exits of both runs; both stages."""
    middle = Joint([IntermediateCTC(cycle(1, 3), 1)], {"ctc": 1.0})
    needs = Foldable(middle).needs(DEEP)
    assert [len(exit) for exit in needs.exits] == [1, 2, 3]
    assert [len(exit) for exit in needs.runs["seed"].request.exits] == [1]
    ctc = Joint([CTC()], {"ctc": 1.0})
    stages = Foldable(Stages([ctc, joint()], [2]))
    asked = [each.runs["seed"].request.heads for each in stages.requests(DEEP)]
    assert asked == [{"ctc"}, {"ctc", "seq2seq"}]
    assert stages.needs(DEEP).runs["seed"].request.heads == {"ctc"}
    stages.start_epoch(3)
    assert stages.needs(DEEP).runs["seed"].request.heads == {"ctc", "seq2seq"}


def test_stages_diverge_as_the_present_one(two_runs):
    outputs, batch = two_runs()
    parts = Joint([CTC()], {"ctc": 1.0}), joint()
    objective = Foldable(Stages(parts, [2]))
    for epoch, part in ((1, parts[0]), (3, parts[1])):
        objective.start_epoch(epoch)
        expected = Foldable(part)(outputs, batch)
        assert torch.equal(objective(outputs, batch)["kl"], expected["kl"])


def test_mistakes_are_named(two_runs, given):
    outputs, batch = two_runs()
    with pytest.raises(UserError, match="the objective returns no 'loss', only ctc: use Joint"):
        Foldable(CTC())(outputs, batch)
    one = torch.ones(())
    features = Joint([joint().objectives[0], given({"gfd": one})], {"ctc": 1.0, "gfd": 1.0})
    with pytest.raises(UserError, match="Given compares no distributions of two runs"):
        Foldable(features)(outputs, batch)
    for name in ("seed_weight", "kl_weight"):
        with pytest.raises(UserError, match=f"{name} is a number of at least 0, not -0.1"):
            Foldable(joint(), **{name: -0.1})
