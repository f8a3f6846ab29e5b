"""YAML files merge, and every mistake in them is one line that names it."""

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load, load_trained, load_weights, read


@pytest.fixture
def files(tmp_path):
    """``files(name=text, ...)`` writes YAML files and returns the path of the last."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / f"{name}.yaml"
            path.write_text(text)
        return path

    return write


def refused(path, overrides=None):
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_chain_of_bases_is_merged_and_the_file_itself_wins(files):
    path = files(
        low="a: 1\nb: 1\nc: 1\n", middle="base: low.yaml\nb: 2\nc: 2\n", top="base: middle.yaml\nc: 3\n"
    )
    assert load(path)[0] == {"a": 1, "b": 2, "c": 3}


def test_several_bases_are_merged_in_their_order(files):
    path = files(one="a: 1\nb: 1\n", two="b: 2\nc: 2\n", top="base: [one.yaml, two.yaml]\nd: <3>\n")
    assert load(path)[0] == {"a": 1, "b": 2, "c": 2, "d": "<3>"}


def test_bases_are_found_beside_the_file_that_names_them(files, tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common/low.yaml").write_text("a: 1\n")
    (tmp_path / "common/middle.yaml").write_text("base: low.yaml\nb: 2\n")
    assert load(files(top="base: common/middle.yaml\n"))[0] == {"a": 1, "b": 2}


def test_references_and_tags_work_across_files(files):
    low = (
        "size: 1\nlayer: !new:torch.nn.Linear\n  in_features: !ref <size>\n  out_features: !ref <more>\n"
    )
    hparams, text = load(files(low=low, top="base: low.yaml\nsize: 3\nmore: !ref <size> * 2\n"))
    assert hparams["layer"].weight.shape == (6, 3)
    assert "base" not in text
    assert load(files(whole=text))[0]["layer"].weight.shape == (6, 3)


def test_plain_mappings_merge_and_tagged_ones_are_replaced(files):
    low = "plain: {a: 1, b: 1}\nbuilt: !new:collections.Counter\n  a: 1\n  b: 1\n"
    top = "base: low.yaml\nplain: {b: 2}\nbuilt: !new:collections.Counter\n  b: 2\n"
    hparams = load(files(low=low, top=top))[0]
    assert hparams == {"plain": {"a": 1, "b": 2}, "built": {"b": 2}}


def test_a_list_may_hold_references(files):
    assert load(files(top="a: 3\nb: [!ref <a>, !ref <a> + 1]\n"))[0]["b"] == [3, 4]


def test_overrides_come_last_and_reach_references(files):
    path = files(low="a: 1\nb: !ref <a>\n", top="base: low.yaml\nc: {d: 1, e: 1}\n")
    assert load(path, {"a": 5})[0]["b"] == 5
    assert load(path, "a: 5\nc: {d: 2}")[0] == {"a": 5, "b": 5, "c": {"d": 2, "e": 1}}


def test_a_placeholder_is_open_until_it_is_given(files):
    path = files(top="data_folder: !PLACEHOLDER\n")
    assert "leaves data_folder open: give it with --data_folder" in refused(path)
    assert load(path, {"data_folder": "x"})[0] == {"data_folder": "x"}


def test_weights_depend_on_the_seed_alone(files):
    layer = "layer: !new:torch.nn.Linear\n  in_features: 2\n  out_features: 2\n"
    path = files(top=f"seed: 1\n{layer}")
    first = load(path)[0]["layer"].weight
    torch.rand(7)
    assert torch.equal(first, load(path)[0]["layer"].weight)
    assert not torch.equal(first, load(path, {"seed": 2})[0]["layer"].weight)


def test_modules_are_built_on_the_device_asked_for(files):
    path = files(top="layer: !new:torch.nn.Linear\n  in_features: 2\n  out_features: 2\n")
    assert load(path, device="meta")[0]["layer"].weight.is_meta
    assert not load(path)[0]["layer"].weight.is_meta


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"n_loops": 3}, "top.yaml has no key 'n_loops' to override; did you mean --loops?"),
        ({"zzz": 3}, "top.yaml has no key 'zzz' to override"),
        ("loops: [1", "the overrides are no valid YAML: line 1"),
        ("loops: 1\nloops: 2", 'found duplicate key "loops"'),
        ("stray", "overrides are pairs of --key value, not: stray"),
        ({"loops": {"a": 1}}, "top.yaml: Expected to update a mapping"),
        ("loops: 0", "top.yaml: loops must be a whole number of at least 1, got 0"),
        ("seed: x", "top.yaml: invalid literal"),
    ],
)
def test_a_bad_override_is_named(files, overrides, words):
    policy = "policy: !new:speechbrain_recursive.nn.loops.Fixed\n  loops: !ref <loops>\n"
    assert words in refused(files(top=f"seed: 1\nloops: 1\n{policy}"), overrides)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: gone.yaml\n", "gone.yaml is not there (base of "),
        ("base: top.yaml\n", "top.yaml is its own base"),
        ("a: 1\nb: [1\n", "top.yaml is no valid YAML: line 3"),
        ("a: !ref <b>\n", "top.yaml: "),
        ("a: !new:torch.nn.Lineal {}\n", "Lineal"),
        ("a: !new:gone.Module {}\n", "gone"),
        ("a: !new:torch.nn.Linear\n  width: 2\n", "width"),
        ("a: !new:torch.nn.MultiheadAttention\n  embed_dim: 3\n  num_heads: 2\n", "divisible"),
    ],
)
def test_a_bad_file_is_named(files, text, words):
    assert words in refused(files(top=text))


def test_a_missing_file_is_named(tmp_path):
    assert refused(tmp_path / "gone.yaml") == f"{tmp_path / 'gone.yaml'} is not there"
    (tmp_path / "circle.yaml").write_text("base: again.yaml\n")
    (tmp_path / "again.yaml").write_text("base: circle.yaml\n")
    with pytest.raises(UserError, match="circle"):
        read(tmp_path / "circle.yaml")


MODEL = "model: !new:torch.nn.Linear\n  in_features: 2\n  out_features: 2\n"


def test_a_finished_run_is_loaded_with_its_weights(files, tmp_path):
    files(hyperparams=MODEL)
    model = torch.nn.Linear(2, 2)
    torch.save(model.state_dict(), tmp_path / "model.ckpt")
    found, hparams = load_trained(tmp_path)
    assert torch.equal(found.weight, model.weight)
    assert not found.training
    assert hparams["model"] is found


def test_what_is_missing_does_not_hide_what_is_unexpected(tmp_path):
    deep, other = torch.nn.Sequential(*[torch.nn.Linear(2, 2)] * 60), torch.nn.Sequential()
    other.add_module("strange", torch.nn.Linear(2, 2))
    torch.save(other.state_dict(), tmp_path / "model.ckpt")
    with pytest.raises(
        UserError, match=r"Missing key.* \[...\]; Unexpected key.*strange.weight"
    ) as caught:
        load_weights(tmp_path / "model.ckpt", deep.load_state_dict)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (None, "holds no finished run: there is no model.ckpt"),
        (torch.nn.Linear(2, 3).state_dict(), "size mismatch for weight"),
        (torch.nn.Linear(2, 2, bias=False).state_dict(), 'Missing key(s) in state_dict: "bias"'),
        ([1], "model.ckpt holds no weights"),
        (b"no checkpoint", "model.ckpt holds no weights"),
        (b"", "model.ckpt holds no weights"),
    ],
)
def test_weights_that_do_not_fit_are_refused(files, tmp_path, weights, words):
    files(hyperparams=MODEL)
    if isinstance(weights, bytes):
        (tmp_path / "model.ckpt").write_bytes(weights)
    elif weights is not None:
        torch.save(weights, tmp_path / "model.ckpt")
    with pytest.raises(UserError) as caught:
        load_trained(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
