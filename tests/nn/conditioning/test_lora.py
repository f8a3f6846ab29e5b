"""Low-rank updates per loop: without effect at first, then equal to merged weights."""

import copy

import pytest
import torch
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.nnet.attention import RelPosEncXL

from speechbrain_recursive.nn.conditioning.lora import LoopLoRA
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import latent
from speechbrain_recursive.nn.state import State

X = torch.rand(2, 12, 8, generator=torch.Generator().manual_seed(0))


def stock(kind):
    torch.manual_seed(3)
    if kind == "transformer":
        return TransformerEncoder(3, nhead=2, d_ffn=16, d_model=8, normalize_before=True)
    return ConformerEncoder(3, d_model=8, d_ffn=16, nhead=2, kernel_size=3)


def positions(kind):
    return None if kind == "transformer" else RelPosEncXL(8)(X)


def pair(kind, **options):
    """The encoder without adapters and one with them, over equal weights."""
    plain = stock(kind)
    schedule = latent(n_recurrent=1, loops=3, n_prelude=1, n_coda=1)
    with_lora = RecursiveEncoder(
        copy.deepcopy(plain), schedule, {"recurrent": [LoopLoRA(loops=3, rank=2)]}, **options
    )
    return RecursiveEncoder(plain, schedule).eval(), with_lora.eval()


def fill(encoder):
    for up in encoder.hooks["recurrent"][0].up.parameters():
        torch.nn.init.normal_(up, std=0.3)


@pytest.mark.parametrize("kind", ["transformer", "conformer"])
def test_new_updates_leave_the_output_unchanged(kind):
    plain, with_lora = pair(kind)
    for loops in (1, 3, 5):
        expected = plain(X, pos_embs=positions(kind), loops=loops)[0]
        torch.testing.assert_close(with_lora(X, pos_embs=positions(kind), loops=loops)[0], expected)


@pytest.mark.parametrize("kind", ["transformer", "conformer"])
def test_equals_layers_with_merged_weights(kind):
    """Loop r is an unshared layer whose matrices are W + B_r A_r; loops past the table use the last."""
    plain, with_lora = pair(kind)
    fill(with_lora)
    hook = with_lora.hooks["recurrent"][0]
    call, pos = plain.adapter.call, positions(kind)
    x = call(State(X, pos=pos), plain.layers[0])[0]
    for loop in (0, 1, 2, 2):
        layer = copy.deepcopy(plain.layers[1])
        for name, weight in layer.named_parameters():
            key = name.replace(".", "/")
            if weight.dim() == 2:
                update = hook.up["1"][key][loop] @ hook.down["1"][key][loop]
                weight.data += hook.scale * update
        x = call(State(x, pos=pos), layer)[0]
    x = call(State(x, pos=pos), plain.layers[2])[0]
    torch.testing.assert_close(with_lora(X, pos_embs=pos, loops=4)[0], plain.norm(x))


@pytest.mark.parametrize("recompute", [False, True])
def test_every_loop_trains_its_own_adapter(recompute):
    _, with_lora = pair("transformer", recompute=recompute)
    fill(with_lora)
    weight = torch.rand(2, 12, 8, generator=torch.Generator().manual_seed(1))
    (with_lora(X)[0] * weight).sum().backward()
    up = with_lora.hooks["recurrent"][0].up["1"]
    assert "self_att/att/in_proj_weight" in up
    for name, parameter in up.items():
        assert all(parameter.grad[loop].abs().sum() > 0 for loop in range(3)), name
    grads = [p.grad.clone() for p in with_lora.parameters()]
    if recompute:
        _, kept = pair("transformer")
        kept.load_state_dict(with_lora.state_dict())
        (kept(X)[0] * weight).sum().backward()
        for ours, theirs in zip(grads, kept.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.grad)


def test_shared_weights_are_left_alone():
    plain, with_lora = pair("transformer")
    fill(with_lora)
    with_lora(X)
    for name, value in plain.state_dict().items():
        assert torch.equal(with_lora.state_dict()[name], value)


@pytest.mark.parametrize("wrong", [{"loops": 0}, {"loops": 1, "rank": 0}])
def test_sizes_are_checked(wrong):
    with pytest.raises(ValueError, match="LoopLoRA"):
        LoopLoRA(**wrong)
