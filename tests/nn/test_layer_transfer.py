"""A student starts from layers of a teacher."""

from functools import partial

import pytest
import torch
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.nnet.attention import RelPosEncXL

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.conditioning.lora import LoopLoRA
from speechbrain_recursive.nn.layer_maps import first, random, shared_mean, stepwise
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import bicycle, cycle, standard
from speechbrain_recursive.nn.transfer import WarmStart, transfer_layers

KIND = ("conformer", "RelPosMHAXL")
MAP = partial(stepwise, n_phonetic=7)
CHOSEN = [0, 2, 4, 6, 9, 11, 13, 15, 17]


@pytest.fixture
def teacher(ours):
    """18 layers, all of them different."""
    model = ours(standard(18), *KIND)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_a_student_without_recursion_is_a_stock_conformer_of_those_layers(teacher, ours):
    student = ours(bicycle(4, 5, 1, 1), *KIND)
    transfer_layers(student, teacher.state_dict(), MAP)
    stock = ConformerEncoder(
        9, d_model=16, d_ffn=32, nhead=2, kernel_size=7, attention_type="RelPosMHAXL", bias=True
    ).eval()
    for layer, index in zip(stock.layers, CHOSEN, strict=True):
        layer.load_state_dict(teacher.encoder.layers[index].state_dict())
    stock.norm.load_state_dict(teacher.encoder.norm.state_dict())
    x = torch.randn(2, 11, 16)
    positions = RelPosEncXL(16)(x)
    assert torch.equal(student.encoder(x, pos_embs=positions)[0], stock(x, pos_embs=positions)[0])


def test_front_end_norm_and_heads_are_carried_over(teacher, ours):
    student = ours(bicycle(4, 5, 2, 2), *KIND)
    transfer_layers(student, teacher.state_dict(), MAP)
    theirs = teacher.state_dict()
    carried = [key for key in theirs if not key.startswith("encoder.layers.")]
    assert {key.split(".")[0] for key in carried} == {"embed", "encoder", "heads"}
    assert all(torch.equal(student.state_dict()[key], theirs[key]) for key in carried)


def test_a_mean_and_no_layer_at_all(teacher, ours):
    student = ours(cycle(9, 2), *KIND)
    transfer_layers(student, teacher.state_dict(), shared_mean)
    theirs, name = teacher.state_dict(), "norm1.norm.weight"
    mean = (theirs[f"encoder.layers.4.{name}"] + theirs[f"encoder.layers.13.{name}"]) / 2
    torch.testing.assert_close(student.state_dict()[f"encoder.layers.4.{name}"], mean)

    student = ours(cycle(9, 2), *KIND)
    before = {key: value.clone() for key, value in student.encoder.layers.state_dict().items()}
    transfer_layers(student, theirs, random)
    assert all(torch.equal(v, before[k]) for k, v in student.encoder.layers.state_dict().items())
    assert torch.equal(student.heads["ctc"].linear.weight, teacher.heads["ctc"].linear.weight)


def test_low_rank_updates_of_full_rank_restore_the_teacher(ours):
    """The matrices of each loop are then those of the layer that the loop stands for."""
    teacher = ours(standard(6), "transformer")
    with torch.no_grad():
        for layer in teacher.encoder.layers:  # what has no update is shared, so it must be equal
            layer.load_state_dict(teacher.encoder.layers[0].state_dict())
            for matrix in (parameter for parameter in layer.parameters() if parameter.dim() == 2):
                matrix.add_(0.3 * torch.randn_like(matrix))
    hooks = {"recurrent": [LoopLoRA(loops=3, rank=32, alpha=5.0)]}
    student = ours(cycle(2, 3), "transformer", hooks=hooks)
    transfer_layers(student, teacher.state_dict(), shared_mean)
    features, frames = torch.randn(2, 11, 12), torch.tensor([11, 7])
    ask = Request(["ctc"])
    expected = teacher.from_features(features, frames, request=ask).log_probs
    torch.testing.assert_close(student.from_features(features, frames, request=ask).log_probs, expected)


def test_a_low_rank_is_the_best_approximation(ours):
    teacher = ours(standard(4), "transformer")
    hook = LoopLoRA(loops=2, rank=3)
    student = ours(cycle(2, 2), "transformer", hooks={"recurrent": [hook]})
    transfer_layers(student, teacher.state_dict(), shared_mean)
    name = "pos_ffn.ffn.0.weight"
    first_layer, third = (teacher.encoder.layers[i].get_parameter(name) for i in (0, 2))
    for loop, layer in enumerate((first_layer, third)):
        residual = layer - (first_layer + third) / 2
        key = name.replace(".", "/")
        update = hook.scale * hook.up["0"][key][loop] @ hook.down["0"][key][loop]
        left = torch.linalg.svdvals(residual)[3:].square().sum().sqrt()
        torch.testing.assert_close((residual - update).norm(), left, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("path", ["folder", "file"])
def test_from_a_results_folder_or_a_file(teacher, ours, tmp_path, path):
    torch.save(teacher.state_dict(), tmp_path / "model.ckpt")
    student = ours(bicycle(4, 5, 1, 1), *KIND)
    WarmStart(tmp_path if path == "folder" else tmp_path / "model.ckpt", MAP)(student)
    ours_, theirs = student.encoder.layers[4].state_dict(), teacher.encoder.layers[9].state_dict()
    assert all(torch.equal(ours_[key], value) for key, value in theirs.items())


def test_what_does_not_fit_is_named(teacher, ours, tmp_path):
    torch.save(teacher.state_dict(), tmp_path / "model.ckpt")
    student = ours(bicycle(4, 5, 1, 1), *KIND)
    said = "n_phonetic: 17 of 18 layers leaves no linguistic group"
    with pytest.raises(UserError, match=f"warm_start: {tmp_path / 'model.ckpt'}: {said}") as caught:
        WarmStart(tmp_path, partial(stepwise, n_phonetic=17))(student)
    assert "\n" not in str(caught.value)
    wide = ours(bicycle(4, 5, 1, 1), *KIND, d_ffn=64)
    with pytest.raises(UserError, match=r"\[32, 16\] there and \[64, 16\] in this model"):
        WarmStart(tmp_path, MAP)(wide)
    other = ours(standard(4), "transformer")
    with pytest.raises(UserError, match="its layers have no "):
        WarmStart(tmp_path, first)(other)
    with pytest.raises(UserError, match=r"nothing holds no finished run: there is no model\.ckpt"):
        WarmStart(tmp_path / "nothing", MAP)(student)
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="holds no layers of an encoder"):
        WarmStart(tmp_path / "other.ckpt", MAP)(student)
