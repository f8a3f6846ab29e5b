"""Parts of a model start afresh or are not trained, by name."""

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.parts import freeze, prefixes, summary
from speechbrain_recursive.nn.schedule import standard
from speechbrain_recursive.nn.transfer import WarmStart, transfer_layers, warm_start


@pytest.fixture
def model(ours):
    return ours(standard(3))


@pytest.fixture
def weights(model):
    """Those of another run: all zero, with a CTC head for 50 other tokens."""
    zeros = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    return zeros | {"heads.ctc.linear.weight": torch.zeros(50, 16)}


def unchanged(model, before):
    return {key for key, value in model.state_dict().items() if torch.equal(value, before[key])}


def named(model, *beginnings):
    return {key for key in model.state_dict() if key.startswith(beginnings)}


def test_names_of_heads_and_of_parameters(model):
    names = ["ctc", "embed", "encoder.layers.0", "heads.seq2seq"]
    expected = ("heads.ctc.", "embed.", "encoder.layers.0.", "heads.seq2seq.")
    assert prefixes(model, names, "freeze") == expected


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["rnn"],
            "reset: the model has no part 'rnn'; it has embed, encoder, heads.ctc, heads.seq2seq$",
        ),
        (["encoder.layers.3"], "has no part 'encoder.layers.3'"),
        (["enc"], "has no part 'enc'"),
        ("ctc", "reset is a list of names, such as .*, not 'ctc'"),
        ([1], r"reset is a list of names, such as .*, not \[1\]"),
    ],
)
def test_other_names_are_refused(model, names, said):
    with pytest.raises(UserError, match=said):
        prefixes(model, names, "reset")


def test_what_is_reset_keeps_its_initial_weights(model, weights):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    reset = ("heads.ctc.", "encoder.layers.1.")
    taken = warm_start(model, weights, reset)
    assert taken == before.keys() - named(model, *reset)
    assert not any(model.state_dict()[key].any() for key in taken)
    assert named(model, *reset) <= unchanged(model, before)
    with pytest.raises(RuntimeError, match=r"size mismatch for heads\.ctc\.linear"):
        warm_start(model, weights)


def test_layers_of_a_larger_model_leave_out_what_is_reset(model, ours, weights):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    reset = ("heads.ctc.", "encoder.layers.2.")
    taken = transfer_layers(model, weights, lambda n, m: [[0], [1], [2]], reset)
    assert taken == before.keys() - named(model, *reset)
    assert named(model, *reset) <= unchanged(model, before)


def test_what_is_frozen_is_not_trained(model):
    freeze(model, ["embed", "encoder.layers.0", "seq2seq"])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    features, frames = torch.randn(2, 11, 12), torch.tensor([11, 7])
    model.from_features(features, frames).log_probs.square().sum().backward()
    torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1).step()
    moved = before.keys() - unchanged(model, before)
    assert moved
    assert not moved & named(model, "embed.", "encoder.layers.0.", "heads.seq2seq.")
    assert named(model, "encoder.layers.1.", "encoder.layers.2.", "heads.ctc.") <= moved
    with pytest.raises(UserError, match="leaves nothing"):
        freeze(model, ["embed", "encoder", "ctc", "seq2seq"])


def test_the_summary_names_what_was_kept_reset_and_frozen(model, weights, tmp_path):
    torch.save(weights, tmp_path / "model.ckpt")
    taken = WarmStart(tmp_path)(model, (), ("heads.ctc.", "encoder.layers.1."))
    freeze(model, ["embed"])
    said = summary(model, taken)
    assert said == (
        "kept: embed, encoder (67%), heads.seq2seq; reset: encoder (33%), heads.ctc; frozen: embed"
    )
