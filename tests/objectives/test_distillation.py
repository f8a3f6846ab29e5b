"""Distillation against slow references, padding excluded."""

from types import SimpleNamespace

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.request import Outputs
from speechbrain_recursive.nn.schedule import bicycle
from speechbrain_recursive.nn.state import State
from speechbrain_recursive.objectives.distillation import FeatureDistillation, PosteriorDistillation

FRAMES = torch.tensor([7, 4, 1])
DEPTH = Depth(
    bicycle(2, 3, 2, 3)
)  # 0 | (1)x2 | (2-3)x3 | 4: the groups end at steps 2 and 8, the last is 9


def outputs(seed, taps=(), width=5, tokens=4, padding=7.0):
    """Random states and posteriors; what stands in the padding must not matter."""
    draw = torch.Generator().manual_seed(seed)
    pad = pad_mask(FRAMES, 7)

    def state(size):
        x = torch.randn(3, 7, size, generator=draw).masked_fill(pad[..., None], padding)
        return State(x.requires_grad_(), pad=pad)

    log_probs = state(tokens).x.log_softmax(-1)
    found = Outputs({"encoder": state(width)}, DEPTH, {"ctc": log_probs})
    found.taps = {tap: state(width) for tap in taps}
    return found


def pair(student=(), teacher=(), **options):
    ours = outputs(1, student)
    ours.teachers["teacher"] = outputs(2, teacher, **options)
    return ours


def mean(values):
    return sum(values) / len(values)


def real_frames():
    return [(row, frame) for row, count in enumerate(FRAMES.tolist()) for frame in range(count)]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_posteriors_frame_by_frame(temperature):
    ours = pair()
    expected = []
    for row, frame in real_frames():
        p = (ours.teachers["teacher"].log_probs[row, frame] / temperature).exp()
        q = (ours.log_probs[row, frame] / temperature).exp()
        p, q = p / p.sum(), q / q.sum()
        expected.append(sum(p[v] * (p[v].log() - q[v].log()) for v in range(4)) * temperature**2)
    loss = PosteriorDistillation(temperature=temperature)(ours, None)["kd"]
    torch.testing.assert_close(loss, mean(expected))
    loss.backward()


@pytest.mark.parametrize("normalize", [True, False])
def test_features_frame_by_frame(normalize):
    objective = FeatureDistillation({"phonetic": 7, "last": 18}, "gfd", normalize=normalize)
    needs = objective.needs(DEPTH)
    assert needs.taps == {2, 9}
    assert needs.teachers["teacher"].taps == {6, 17}
    ours = pair(student=(2, 9), teacher=(6, 17))
    expected = 0.0
    for mine, theirs in [(2, 6), (9, 17)]:
        errors = []
        for row, frame in real_frames():
            a = ours.taps[mine].x[row, frame]
            b = ours.teachers["teacher"].taps[theirs].x[row, frame]
            if normalize:
                a, b = a / a.square().sum().sqrt(), b / b.square().sum().sqrt()
            errors += [(a[i] - b[i]) ** 2 for i in range(5)]
        expected += mean(errors)
    torch.testing.assert_close(objective(ours, None)["gfd"], expected)


def test_padding_does_not_count():
    objective = FeatureDistillation({"linguistic": 3}, "gfd")
    losses = []
    for padding in (7.0, -100.0):
        ours = outputs(1, (8,), padding=padding)
        ours.teachers["teacher"] = outputs(2, (2,), padding=3 * padding)
        losses.append((objective(ours, None)["gfd"], PosteriorDistillation()(ours, None)["kd"]))
    assert torch.equal(*(torch.stack(each) for each in losses))


def test_a_teacher_of_another_width_is_projected_to():
    objective = FeatureDistillation({"last": 3}, "hint", normalize=False, widths=(5, 8))
    ours = pair(student=(9,), teacher=(2,), width=8)
    projected = objective.project["last"](ours.taps[9].x)
    keep = ~pad_mask(FRAMES, 7)
    expected = (projected - ours.teachers["teacher"].taps[2].x)[keep].square().mean()
    loss = objective(ours, None)["hint"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert objective.project["last"].weight.grad.any()


def test_what_does_not_fit_is_named():
    with pytest.raises(
        UserError, match=r"states at last are \[3, 7, 8\] where the student's are \[3, 7, 5\]"
    ):
        FeatureDistillation({"last": 3}, "gfd")(pair((9,), (2,), width=8), None)
    with pytest.raises(
        UserError, match=r"posteriors are \[3, 7, 6\] where the student's are \[3, 7, 4\]"
    ):
        PosteriorDistillation()(pair(tokens=6), None)
    with pytest.raises(UserError, match="gfd: no block 'phonic'"):
        FeatureDistillation({"phonic": 3}, "gfd").needs(DEPTH)
    for layers in ({}, {"last": 0}, {"last": "18"}):
        with pytest.raises(
            UserError, match="gfd: layers are blocks with steps of the teacher from 1 on"
        ):
            FeatureDistillation(layers, "gfd")


def test_no_padding_at_all():
    ours, theirs = (Outputs({"encoder": State(torch.rand(2, 3, 4))}, DEPTH) for _ in range(2))
    for each in (ours, theirs):
        each.taps = {9: State(torch.rand(2, 3, 4))}
        each.heads["ctc"] = torch.rand(2, 3, 4).log_softmax(-1)
    ours.teachers["teacher"] = SimpleNamespace(taps=theirs.taps, log_probs=theirs.log_probs)
    assert FeatureDistillation({"last": 10}, "gfd")(ours, None)["gfd"] > 0
    assert PosteriorDistillation()(ours, None)["kd"] > 0
