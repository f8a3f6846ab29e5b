"""YAML files merge by one rule, and every mistake in them is one line that names it."""

import random
import re
from functools import partial

import numpy as np
import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load, load_trained, merge
from speechbrain_recursive.merging import dump
from speechbrain_recursive.nn.transfer import warm_start
from speechbrain_recursive.weights import load_weights


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


def test_a_base_may_be_the_model_that_a_key_names(files, tmp_path):
    path = files(
        recipe="d: 2\nwidth: !ref <d> * 2\nstart: older\n",
        low="base: !ref <start>\nstart: !PLACEHOLDER\nlr: 1\n",
        top="base: low.yaml\nlr: 2\n",
    )
    assert dict(merge(path))["lr"] == 2
    assert "d" not in merge(path)  # the model is open
    assert "top.yaml leaves start open: give it with --start" in refused(path)
    for model in (str(tmp_path), f"{tmp_path}/model.ckpt"):
        hparams, _ = load(path, {"start": model, "d": 5})
        assert (hparams["width"], hparams["lr"], hparams["start"]) == (10, 2, model)
    for hostile in ("!apply:os.system [true]", "!applyref:os.system [true]", "!include:a.yaml"):
        (tmp_path / "recipe.yaml").write_text(f"d: 2\nx: {hostile}\n")
        assert "is not among what a folder may name" in refused(path, {"start": str(tmp_path)})
    gone = tmp_path / "gone"
    said = f"{gone} holds no finished run: there is no {gone}/recipe.yaml"
    assert refused(path, {"start": str(gone)}) == said


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


# base, change, what the two give
MERGES = {
    "a plain mapping merges at every level": (
        "a: {b: {c: 1, d: 1}, e: 1}",
        "a: {b: {c: 2}}",
        "a: {b: {c: 2, d: 1}, e: 1}",
    ),
    "a plain mapping merges into arguments and keeps the tag": (
        "a: !new:collections.Counter {b: 1, c: 1}",
        "a: {b: 2}",
        "a: !new:collections.Counter {b: 2, c: 1}",
    ),
    "arguments of arguments": (
        "a: {b: !name:x.Y {c: !new:x.Z {d: 1, e: 1}}}",
        "a: {b: {c: {e: 2}}}",
        "a: {b: !name:x.Y {c: !new:x.Z {d: 1, e: 2}}}",
    ),
    "a plain mapping gives arguments to an object without any": (
        "a: !name:torch.nn.GELU",
        "a: {approximate: tanh}",
        "a: !name:torch.nn.GELU {approximate: tanh}",
    ),
    "another class replaces": (
        "a: !name:torch.optim.AdamW {lr: 0.1, eps: 1.0}",
        "a: !name:torch.optim.Adam {lr: 0.2}",
        "a: !name:torch.optim.Adam {lr: 0.2}",
    ),
    "the same class replaces": (
        "a: !name:torch.optim.Adam {lr: 0.1, eps: 1.0}",
        "a: !name:torch.optim.Adam {lr: 0.2}",
        "a: !name:torch.optim.Adam {lr: 0.2}",
    ),
    "another kind replaces": ("a: !new:x.Y {b: 1}", "a: !apply:x.Y {c: 1}", "a: !apply:x.Y {c: 1}"),
    "a tagged value replaces a plain mapping": (
        "a: {b: {c: 1}}",
        "a: {b: !new:x.Y {d: 1}}",
        "a: {b: !new:x.Y {d: 1}}",
    ),
    "a plain value replaces an object": ("a: !new:x.Y {b: 1}", "a: null", "a: null"),
    "a mapping replaces a plain value": (
        "a: null\nb: 1",
        "a: {c: 1}\nb: {d: 1}",
        "a: {c: 1}\nb: {d: 1}",
    ),
    "a mapping replaces a placeholder": ("a: !PLACEHOLDER", "a: {b: 1}", "a: {b: 1}"),
    "a list replaces": ("a: [{b: 1}, 2]", "a: [{c: 1}]", "a: [{c: 1}]"),
    "a key is removed": ("a: 1\nb: 1", "a: !remove", "b: 1"),
    "an inner key is removed": ("a: {b: {c: 1, d: 1}}", "a: {b: {c: !remove}}", "a: {b: {d: 1}}"),
    "an argument is removed": (
        "a: !new:x.Y {b: 1, c: 1}",
        "a: {b: !remove, c: 2}",
        "a: !new:x.Y {c: 2}",
    ),
    "what an alias shares is changed in one place": (
        "a: &x {b: {c: 1}}\nd: *x",
        "a: {b: {c: 2}}",
        "a: {b: {c: 2}}\nd: {b: {c: 1}}",
    ),
    "a key that YAML's << brings is removed": (
        "a: &x {b: 1, c: 1}\nd: {<<: *x}",
        "d: {b: !remove}",
        "a: {b: 1, c: 1}\nd: {c: 1}",
    ),
    "anchors of two files may have one name": (
        "a: &x {c: 1}\nb: 1\nd: *x\ne: 1",
        "b: &x {c: 2}\ne: *x",
        "a: {c: 1}\nb: {c: 2}\nd: {c: 1}\ne: {c: 2}",
    ),
}


def untangled(tree):
    """A tree as nested pairs of tag and content."""
    tag = getattr(getattr(tree, "tag", None), "value", None)
    if isinstance(tree, dict):
        return tag, {key: untangled(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return tag, [untangled(value) for value in tree]
    return tag, getattr(tree, "value", tree)


@pytest.mark.parametrize("change_by", ["file", "command line"])
@pytest.mark.parametrize(("base", "change", "merged"), MERGES.values(), ids=MERGES.keys())
def test_files_and_command_line_merge_by_one_rule(files, base, change, merged, change_by):
    expected = untangled(merge(files(expected=merged)))
    if change_by == "file":
        tree = merge(files(low=base, top=f"base: low.yaml\n{change}\n"))
    else:
        tree = merge(files(low=base), change)
    assert untangled(tree) == expected
    assert untangled(merge(files(again=dump(tree)))) == expected


def test_a_shared_object_stays_one(files):
    text = "a: &x !new:collections.Counter {b: 1}\nc: *x\n"
    hparams = load(files(low=text, top="base: low.yaml\nd: 1\n"))[0]
    assert hparams["a"] is hparams["c"]


def test_merging_leaves_the_overrides_alone(files):
    path = files(top="a: {b: {c: 1}}\nd: 1\n")
    overrides = {"a": {"b": {"e": 1}}, "d": {"f": 1}}
    first = load(path, overrides)[0]
    assert overrides == {"a": {"b": {"e": 1}}, "d": {"f": 1}}
    assert load(path, overrides)[0] == first == {"a": {"b": {"c": 1, "e": 1}}, "d": {"f": 1}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("gone: !remove", "gone"),
        ("a: {gone: !remove}", "there is no key 'a[gone]' to remove"),
        ("b: {c: {gone: !remove}}", "there is no key 'b[c][gone]' to remove"),
        ("a: !new:collections.Counter {c: !remove}", "there is no key 'a[c]' to remove"),
        ("d: {e: 1}", "a plain mapping cannot merge into 'd', which is !ref <b>"),
        ("f: {e: 1}", "a plain mapping cannot merge into 'f', which is !apply:len"),
    ],
)
def test_what_cannot_be_merged_is_named(files, change, words):
    low = "a: !new:collections.Counter {c: 1}\nb: 1\nd: !ref <b>\nf: !apply:len [[1]]\n"
    assert words in refused(files(low=low, top=f"base: low.yaml\n{change}\n"))
    assert words in refused(files(low=low), change)


def test_a_base_changes_and_removes_what_the_bases_before_it_have(files):
    task = "a: !new:collections.Counter {b: 1, c: 1}\nd: 1\n"
    method = "a: {b: !remove, c: 2}\nd: !remove\n"
    path = files(task=task, method=method, top="base: [task.yaml, method.yaml]\na: {e: 3}\n")
    assert load(path)[0] == {"a": {"c": 2, "e": 3}}
    assert "method.yaml: there is no key 'a[b]'" in refused(
        files(top="base: [method.yaml, task.yaml]\na: {}\n")
    )


def test_a_key_can_be_removed_once(files):
    files(low="a: 1\nb: 1\n", middle="base: low.yaml\na: !remove\n")
    assert load(files(top="base: middle.yaml\nb: 2\n"))[0] == {"b": 2}
    message = refused(files(top="base: middle.yaml\na: !remove\n"))
    assert message.endswith("top.yaml: there is no key 'a' to remove")


@pytest.mark.parametrize(
    ("user", "removed", "words"),
    [
        ("b: {c: [!ref <a>]}", "a: !remove", "b[c][0] refers to a, which"),
        ("b: !ref x/<a[c]>", "a: {c: !remove}", "b refers to a[c], which"),
        ("b: !ref <a.real>", "a: !remove", "b refers to a, which"),
    ],
)
def test_a_removed_key_that_is_referred_to_is_named_with_its_user(files, user, removed, words):
    low = f"ab: 1\na: {{c: 1}}\nother: !ref <ab>\n{user}\n"
    for path, overrides in (
        (files(low=low), removed),
        (files(top=f"base: low.yaml\n{removed}\n"), None),
    ):
        assert words in refused(path, overrides)


def test_a_reference_may_refer_to_a_later_reference(files):
    assert load(files(top="a: [!ref <b>]\nb: !ref <c>\nc: !ref <d>\nd: 3\n"))[0]["a"] == [3]


@pytest.mark.parametrize("first", ["tokenizer", "n_tokens"])
def test_a_number_of_tokens_comes_from_the_tokenizer(files, first):
    texts = {
        "tokenizer": "tokenizer: !new:collections.UserString\n    seq: !ref <characters>\n",
        "n_tokens": "n_tokens: !apply:len [!ref <tokenizer>]\nvocabulary: !ref <n_tokens>\n",
    }
    text = texts.pop(first) + "".join(texts.values())
    text += "layer: !new:torch.nn.Linear\n    in_features: !ref <n_tokens>\n    out_features: 1\n"
    low, top = f"characters: ABC\n{text}", "base: low.yaml\nlast: {n: [!ref <vocabulary>]}\n"
    hparams, merged = load(files(low=low, top=top), "characters: ABCDE")
    assert hparams["n_tokens"] == hparams["vocabulary"] == hparams["layer"].in_features == 5
    assert hparams["last"] == {"n": [5]}
    assert load(files(again=merged))[0]["n_tokens"] == 5


def test_an_object_in_a_list_keeps_its_arguments(files):
    text = "a: [!new:collections.Counter {b: 1}]\n"
    assert load(files(top=text))[0] == {"a": [{"b": 1}]}


def test_a_list_may_hold_references(files):
    assert load(files(top="a: 3\nb: [!ref <a>, !ref <a> + 1]\n"))[0]["b"] == [3, 4]


def test_overrides_come_last_and_reach_references(files):
    path = files(low="a: 1\nb: !ref <a>\n", top="base: low.yaml\nc: {d: 1, e: 1}\n")
    assert load(path, {"a": 5})[0]["b"] == 5
    assert load(path, "a: 5\nc: {d: 2}")[0] == {"a": 5, "b": 5, "c": {"d": 2, "e": 1}}


@pytest.mark.parametrize(
    "overrides",
    [
        ["--a", "5", "--b={c: x=y, d: !remove}"],
        ["--a=1", "--b", "{c: 3}", "--a=5", "--b", "{c: x=y, d: !remove}"],
        "a: 1\nb: 1\na: 5\nb: {c: x=y, d: !remove}",
    ],
)
def test_the_last_of_repeated_overrides_counts(files, overrides):
    path = files(top="a: !ref <b>\nb: {c: 1, d: 1, e: 1}\n")
    assert load(path, overrides)[0] == {"a": 5, "b": {"c": "x=y", "e": 1}}


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


RANDOM = """
seed: 1
python: !apply:random.random
numpy: !apply:numpy.random.random_sample
torch: !apply:torch.rand [2]
"""


def draw(device="cpu"):
    """The next number of each generator."""
    return random.random(), np.random.random_sample(), torch.rand(1, device=device).item()


def seed_all():
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


def test_loading_leaves_the_random_state_alone(files):
    path = files(top=RANDOM)
    seed_all()
    expected = draw()
    seed_all()
    first = load(path)[0]
    assert draw() == expected
    again = load(path)[0]  # from another state
    assert (first["python"], first["numpy"]) == (again["python"], again["numpy"])
    assert torch.equal(first["torch"], again["torch"])
    seed_all()
    refused(files(bad=f"{RANDOM}bad: !new:torch.nn.Linear\n"))
    assert draw() == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_loading_leaves_the_random_state_of_cuda_alone(files):
    path = files(top=RANDOM)
    seed_all()
    expected = draw("cuda")
    seed_all()
    first = load(path, device="cuda")[0]["torch"]
    assert draw("cuda") == expected
    assert torch.equal(first, load(path, device="cuda")[0]["torch"])


def test_modules_are_built_on_the_device_asked_for(files):
    path = files(top="layer: !new:torch.nn.Linear\n  in_features: 2\n  out_features: 2\n")
    assert load(path, device="meta")[0]["layer"].weight.is_meta
    assert not load(path)[0]["layer"].weight.is_meta


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"n_loops": 3}, "top.yaml has no key 'n_loops' to override; did you mean --loops?"),
        ({"zzz": 3}, "top.yaml has no key 'zzz' to override"),
        ("loops: [1", "overrides, line 1: no valid YAML: "),
        (["stray"], "overrides are pairs of --key value, not: stray"),
        (["--loops", "1", "--seed"], "overrides are pairs of --key value, not: --loops 1 --seed"),
        ("stray", "overrides: there must be keys and values, not: stray"),
        ({"loops": {"a": 1}}, "top.yaml: most must be a whole number of at least 1, got {'a': 1}"),
        ("loops: 0", "top.yaml: most must be a whole number of at least 1, got 0"),
        ("seed: x", "top.yaml: invalid literal"),
        ("loops: !gone 1", "top.yaml: could not determine a constructor for the tag '!gone'"),
    ],
)
def test_a_bad_override_is_named(files, overrides, words):
    policy = "policy: !new:speechbrain_recursive.nn.loops.Growing\n  most: !ref <loops>\n"
    assert words in refused(files(top=f"seed: 1\nloops: 1\n{policy}"), overrides)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: gone.yaml\n", "gone.yaml does not exist (base of "),
        ("base: top.yaml\n", "top.yaml is its own base"),
        ("a: 1\nb: [1\n", "top.yaml, line 3: no valid YAML: "),
        ("a: 1\na: 2\n", "top.yaml, line 2: no valid YAML: found duplicate key"),
        ("base: 3\n", "3 does not exist (base of "),
        ("a: {b: [!ref <gone> + 1]}\n", "top.yaml: a[b][0] refers to gone, which does not exist"),
        ("a: !ref <b>\nb: !ref <a>\n", "top.yaml: references form a circle"),
        ("a: !ref <a>/x\n", "top.yaml: references form a circle"),
        ("a: !new:torch.nn.Lineal {}\n", "Lineal"),
        ("a: !new:gone.Module {}\n", "gone"),
        ("a: !new:torch.nn.Linear\n  width: 2\n", "width"),
        ("a: !new:torch.nn.MultiheadAttention\n  embed_dim: 3\n  num_heads: 2\n", "divisible"),
        ("a: !apply:operator.getitem [{}, 1]\n", "top.yaml: 1"),
        ("a: !apply:queue.Queue.get_nowait [!new:queue.Queue {}]\n", "top.yaml: Empty"),
    ],
)
def test_a_bad_file_is_named(files, text, words):
    assert words in refused(files(top=text))


def test_a_missing_file_is_named(tmp_path):
    assert refused(tmp_path / "gone.yaml") == f"{tmp_path / 'gone.yaml'} does not exist"
    (tmp_path / "circle.yaml").write_text("base: again.yaml\n")
    (tmp_path / "again.yaml").write_text("base: circle.yaml\n")
    with pytest.raises(UserError, match="circle"):
        load(tmp_path / "circle.yaml")


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


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    "content",
    [
        Code(),
        {"weight": Code()},
        {"weight": 1},
        torch.zeros(2),
        {"weight": torch.zeros(2), "code": Code()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_of_weights_does_not_run(tmp_path, capsys, content, zipped):
    path = tmp_path / "model.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    for read in (torch.nn.Linear(2, 2).load_state_dict, partial(warm_start, torch.nn.Linear(2, 2))):
        with pytest.raises(UserError, match=f"^{path} holds no weights$"):
            load_weights(path, read)
    assert capsys.readouterr().out == ""


def test_weights_that_are_cut_short_are_no_weights(tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    content = path.read_bytes()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=f"^{path} holds no weights$"):
            load_weights(path, torch.nn.Linear(2, 2).load_state_dict)


def test_folders_are_not_said_to_be_missing(files, tmp_path):
    assert refused(tmp_path) == f"{tmp_path} is a folder, not a file"
    assert refused(files(top="base: .\n")) == f"{tmp_path} is a folder, not a file"
    with pytest.raises(UserError, match=f"^{tmp_path} is a folder, not a file$"):
        load_weights(tmp_path, print)
    with pytest.raises(UserError, match=r"top\.yaml is a file, not the folder of a finished run"):
        load_trained(tmp_path / "top.yaml")


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: caf\xe9\n")
    assert refused(tmp_path / "a.yaml") == f"{tmp_path / 'a.yaml'} is not UTF-8 text (byte 6)"


@pytest.mark.parametrize(
    ("overrides", "value"),
    [
        (["--a", "/x/a=b"], "/x/a=b"),
        (["--a=/x/a=b"], "/x/a=b"),
        (["--a", "'ABC"], "'ABC"),
        (["--a='ABC"], "'ABC"),
        (["--a", "'ABC'"], "ABC"),
        (["--a", "\"A'B"], "\"A'B"),
        (["--a", "'A' B"], "'A' B"),
    ],
)
def test_a_value_of_the_command_line(files, overrides, value):
    assert load(files(top="a: 1\n"), overrides)[0] == {"a": value}


def test_an_error_that_no_value_explains_says_where_it_arose(files):
    text = "a: !new:speechbrain_recursive.nn.encoder.RecursiveEncoder\n  encoder: 1\n  schedule: 2\n"
    assert re.search(
        r"has no attribute .* \(AttributeError in .*\.py, line \d+\)$", refused(files(top=text))
    )
    with pytest.raises(UserError) as caught:
        load(files(top=text))
    assert isinstance(caught.value.__cause__, AttributeError)


def test_what_a_module_raises_when_it_is_imported(files, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrong_module.py").write_text("a = (\n")
    message = refused(files(top="a: !new:wrong_module.A\n"))
    assert message.endswith("top.yaml: '(' was never closed (wrong_module.py, line 1)")
    (tmp_path / "broken_module.py").write_text("gone\n")
    message = refused(files(top="a: !new:broken_module.A\n"))
    assert "name 'gone' is not defined (NameError in " in message
    assert message.endswith("broken_module.py, line 1)")
    (tmp_path / "slow_module.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(files(top="a: !new:slow_module.A\n"))
