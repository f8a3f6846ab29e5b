"""Hostile folders: nothing of them runs, and each is refused in one line, whatever command opens it."""

import json
import os
import pickle
import shutil
import time
from argparse import ArgumentParser, _SubParsersAction
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from pydoc import locate
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.allowed import NAMES
from speechbrain_recursive.data.fingerprint import fingerprint
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load, load_trained
from speechbrain_recursive.merging import dump, parse
from speechbrain_recursive.nn.transfer import WarmStart
from speechbrain_recursive.safety import MOST_BYTES, check_settings
from speechbrain_recursive.training.asr import ASR
from speechbrain_recursive.training.teachers import TrainedTeacher

# YAML that writes CANARY when HyperPyYAML loads it.
RUNS = {
    "apply": "a: !apply:os.system ['touch CANARY']",
    "new": "a: !new:subprocess.Popen [[touch, CANARY]]",
    "applyref": "a: !applyref:os.system ['touch CANARY']",
    "python object": "a: !!python/object/apply:os.system ['touch CANARY']",
    "verbatim tag": "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch CANARY']",
    "deep": "a: {b: [{c: [!apply:os.system ['touch CANARY']]}]}",
    "argument": "a: !new:torch.nn.Linear [1, !apply:os.system ['touch CANARY']]",
    "anchor": "a: [&x !apply:os.system ['touch CANARY'], *x]",
    "tuple": "a: !tuple (!!python/object/apply:os.system ['touch CANARY'])",
    "string in parentheses": "a: (!!python/object/apply:os.system ['touch CANARY'])",
    "eval": "a: !apply:eval [\"open('CANARY', 'w')\"]",
    "through torch": "a: !apply:torch.os.system ['touch CANARY']",
    "through torch.nn": "a: !apply:torch.nn.parallel.distributed.os.system ['touch CANARY']",
    "through speechbrain": "a: !apply:speechbrain.utils.distributed.os.system ['touch CANARY']",
    "through this package": "a: !apply:speechbrain_recursive.files.os.system ['touch CANARY']",
    "run_on_main": (
        "a: !apply:speechbrain.utils.distributed.run_on_main\n"
        "    func: !name:os.system\n    args: ['touch CANARY']"
    ),
    "check_call": "a: !apply:subprocess.check_call [[touch, CANARY]]",
    "copy": "a: !copy <b>\nb: !apply:os.system ['touch CANARY']",
    "write_whole": "a: !apply:speechbrain_recursive.files.write_whole [CANARY, text]",
    "include": "a: !include:FOLDER/other.yaml",
    "base": "base: FOLDER/other.yaml",
    "torch.load": "a: !apply:torch.load {f: FOLDER/pickled, weights_only: False}",
}
# What would run code later, read files or fetch, and what is no constructor.
REFUSED = {
    "key": "? !apply:os.system ['touch CANARY']\n: 1",
    "quoted": "a: \"(!!python/object/apply:os.system ['touch CANARY'])\"",
    "escaped tag": "a: !apply:os%2Esystem ['touch CANARY']",
    "module that is imported": "a: !apply:speechbrain.utils.fetching.os.system [ls]",
    "name": "a: !name:os.system",
    "module": "a: !module:os",
    "python name": "a: !!python/name:os.system",
    "python module": "a: !!python/module:os",
    "fetch": "a: !apply:speechbrain.utils.fetching.fetch {filename: a, source: FOLDER}",
    "download": "a: !apply:speechbrain_recursive.data.download.install [a, null, FOLDER, a]",
    "pretrained": "a: !apply:speechbrain.inference.ASR.EncoderASR.from_hparams {source: FOLDER}",
    "read_audio": "a: !apply:speechbrain.dataio.dataio.read_audio [FOLDER/speech.wav]",
    "hub": "a: !apply:torch.hub.load [a/b, c]",
    "globals": "a: !name:torch.nn.Module.__init__.__globals__",
    "method": "a: !name:torch.nn.Linear.forward",
    "private": "a: !apply:torch.nn.modules.module._addindent [a, 2]",
    "built in": "a: !name:getattr",
    "getattr": "a: !apply:getattr [!new:torch.nn.Linear [1, 1], load_state_dict]",
    "getattr twice": (
        "a: !apply:getattr [!apply:getattr [!new:torch.nn.Linear [1, 1], __class__], n_layers]"
    ),
    "getattr of a name": "a: !apply:getattr [!name:torch.nn.Linear {}, layers]",
    "file of sentencepiece": "a: !new:sentencepiece.SentencePieceProcessor {model_file: FOLDER/a}",
    "prefix": "a: !new:torch.nnx.Linear",
    "case": "a: !NEW:torch.nn.Linear",
    "reference": "a: !ref <b>\nb: 1",
    "placeholder": "a: !PLACEHOLDER",
    "tag directive": "%TAG !x! !apply:\n---\na: !x!os.system ['touch CANARY']",
}
BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghijklmno")
)
INVALID = {
    "aliases": (BOMB, "aliases written out, it would hold over 20,000 values"),
    "merged aliases": ("a: &a {x: 1}\nb: {<<: *a}", "tag:yaml.org,2002:merge is not among"),
    "alias to itself": ("a: &a [*a]", "aliases written out"),
    "levels": (f"a: {'[' * 60}{']' * 60}", "nested over 40 levels deep"),
    "more levels": (f"a: {'[' * 600}{']' * 600}", "no valid YAML|nested over 40"),
    "levels of aliases": (
        "\n".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else 1}]" for n in range(50)),
        "nested over 40 levels deep",
    ),
    "size": (f"a: {'b' * MOST_BYTES}", "is too large for settings: over 1 MiB"),
    "number": (f"a: {'9' * 5000}", "no valid YAML"),
    "type": ("a: !!bool 3", "no valid YAML"),
    "repeated key": ("a: 1\na: 2", "line 2: no valid YAML: found duplicate key"),
    "repeated anchor": ("a: &x 1\nb: &x 2", "no valid YAML"),
    "two documents": ("a: 1\n---\nb: 1", "no valid YAML"),
    "a list": ("[1, 2]", "there must be keys and values"),
}
OTHERS = ("quoted", "name", "fetch", "pretrained", "globals", "getattr", "tag directive")
HOSTILE = RUNS | {name: REFUSED[name] for name in OTHERS} | {"bomb": BOMB}
OPEN = "\noutput_folder: a\ndata_folder: b"  # what describe overrides
COMMANDS = {
    "describe": ["describe", "SETTINGS"],
    "describe folder": ["describe", "FOLDER"],
    "describe --yaml": ["describe", "FOLDER", "--yaml"],
    "transcribe": ["transcribe", "FOLDER", "a.wav"],
    "calibrate": ["calibrate", "FOLDER"],
    "similarity": ["analyze", "similarity", "FOLDER"],
    "cad": ["analyse", "cad", "FOLDER"],
    "pca": ["analyze", "pca", "FOLDER"],
    "probe": ["analyze", "probe", "FOLDER"],
    "sensitivity": ["analyze", "sensitivity", "FOLDER"],
    "paths": ["analyze", "paths", "FOLDER"],
    "boundaries": ["analyze", "boundaries", "FOLDER"],
    "export": ["export", "FOLDER", "exported"],
    "publish": ["publish", "FOLDER", "me/my-model", "--dry-run"],
    "serve": ["serve", "FOLDER", "--port", "0"],
}
READ_REPORTS = {"compare", "table", "bins"}
RECIPE = Path(__file__).parents[1] / "recipes/Manifest/hparams/finetune.yaml"


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def folder(trained, tmp_path):
    """A results folder whose files may be changed."""
    path = tmp_path / "results"
    path.mkdir()
    for name in ("hyperparams.yaml", "tokenizer.json", "model.ckpt"):
        shutil.copy(trained / name, path)
    shutil.copytree(trained / "manifests", path / "manifests")
    return path


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.fixture
def write(folder, canary, tmp_path):
    """``write(text)``: make it the settings of the folder; returns the folder."""
    (tmp_path / "other.yaml").write_text(RUNS["apply"].replace("CANARY", str(canary)))
    (tmp_path / "pickled").write_bytes(pickle.dumps(Hostile(canary)))

    def change(text):
        text = text.replace("CANARY", str(canary)).replace("FOLDER", str(tmp_path))
        for name in ("hyperparams.yaml", "recipe.yaml"):
            (folder / name).write_text(text)
        about = {"fingerprint": fingerprint(folder, []), "results": []}  # as if it had been evaluated
        (folder / "report.json").write_text(json.dumps(about))
        return folder

    return change


@pytest.fixture
def command(folder, capsys):
    """``command(name, *options)``: what a command says that opens the folder; it must fail."""

    def run(name, *options):
        places = {"FOLDER": folder, "SETTINGS": folder / "hyperparams.yaml"}
        words = [str(places.get(word, word)) for word in COMMANDS[name]]
        assert main([*words, *options]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_runs_what_a_folder_names(name, command, write, canary):
    for kind, text in HOSTILE.items():
        write(text)
        said = command(name)
        assert not canary.exists(), kind
        assert said.startswith("error: "), kind
        assert said.count("\n") == 1, kind
        assert "Traceback" not in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_trust(name, command, write, canary):
    folder = write(RUNS["apply"] + OPEN)
    if "--yaml" in COMMANDS[name]:  # prints, and runs nothing
        assert main(["describe", str(folder), "--yaml", "--trust"]) == 0
        assert not canary.exists()
        return
    command(name, "--trust")
    assert canary.exists()


def commands(parser, above=()):
    """Yield the words of every command of a parser, and its options."""
    nested = [each.choices for each in parser._actions if isinstance(each, _SubParsersAction)]
    for choices in nested:
        for name, command in choices.items():
            yield from commands(command, (*above, name))
    if not nested:
        yield above, parser._option_string_actions


def test_every_command_that_opens_a_folder_is_listed(monkeypatch):
    monkeypatch.setattr(ArgumentParser, "parse_known_args", lambda parser, _: parsers.append(parser))
    parsers = []
    with suppress(TypeError):  # nothing was parsed
        main([])
    listed = {tuple(words[: 1 + (words[0] in ("analyze", "analyse"))]) for words in COMMANDS.values()}
    listed |= {("analyze", *words[1:]) for words in listed if words[0] == "analyse"}
    takes_trust = {w for w, options in commands(parsers[0]) if "--trust" in options}
    assert {w for w in takes_trust if w[0] != "analyse"} == {w for w in listed if w[0] != "analyse"}
    others = {w[-1] for w, _ in commands(parsers[0])} - {w[-1] for w in takes_trust}
    assert others == READ_REPORTS | {"cache-teacher"}  # which takes a recipe


def test_no_training_runs_what_its_model_names(write, trained, canary):
    whole = (trained / "recipe.yaml").read_text()
    for kind, text in HOSTILE.items():
        path = write(text) / "recipe.yaml"
        path.write_text(f"{whole}\n{path.read_text()}")
        with pytest.raises(UserError, match=rf"^{path}.* (is not among|valid YAML|aliases)") as caught:
            load(RECIPE, {"warm_start": str(path.parent)})
        assert "\n" not in str(caught.value), kind
        assert not canary.exists(), kind
    path.write_text(f"{whole}\n{write(RUNS['apply']).joinpath('recipe.yaml').read_text()}")
    load(RECIPE, {"warm_start": str(path.parent), "trust": True})
    assert canary.exists()


def test_models_beside_others_are_checked(write, trained, canary, capsys):
    words = ["analyze", "paths", str(trained), "--beside", str(write(RUNS["apply"]))]
    assert main(words) == 1
    assert "!apply:os.system is not among" in capsys.readouterr().err
    assert not canary.exists()


@pytest.mark.parametrize("text", RUNS.values(), ids=RUNS)
def test_without_the_check_it_would_run(text, write, canary):
    path = write(text) / "hyperparams.yaml"
    with pytest.raises(UserError, match=r"hyperparams\.yaml, line \d: .* is not among .* add --trust"):
        load(path, trust=False)
    assert not canary.exists()
    with suppress(UserError):
        load(path)
    until = time.monotonic() + 10  # for a process that it started
    while not canary.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert canary.exists()


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_not_listed(text, write):
    with pytest.raises(UserError, match=r"hyperparams\.yaml, line \d: .* is not among .* add --trust"):
        load_trained(write(text))


@pytest.mark.parametrize(("text", "said"), INVALID.values(), ids=INVALID)
def test_what_is_too_large_or_no_yaml(text, said, write):
    with pytest.raises(UserError, match=said):
        load_trained(write(text))


def test_the_line_and_the_tag_are_named(write):
    path = write("a: 1\nb:\n  - 2\n  - !new:my_method.InputGate") / "hyperparams.yaml"
    with pytest.raises(UserError) as caught:
        load(path, trust=False)
    assert str(caught.value).startswith(f"{path}, line 4: !new:my_method.InputGate is not among")
    assert "your own modules, add --trust" in str(caught.value)


@pytest.mark.parametrize("key", ["model", "corpus", "task", "n_tokens"])
def test_settings_without_a_key(folder, key, command):
    path = folder / "hyperparams.yaml"
    tree = parse(path.read_text(), path)
    del tree[key]
    path.write_text(dump(tree))
    assert f"hyperparams.yaml has no {key}, which" in command("transcribe")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: (1, 2.5, -3e-2, b)\nb: !tuple (False, True)",
        "a: text (with a word) in it\nb: 2026-01-02",
        "a: &x !new:torch.nn.Linear [1, 2]\nb: *x\nc: !name:torch.optim.SGD {lr: 1}",
        "a: !name:torch.bfloat16\nb: !new:sentencepiece.SentencePieceProcessor",
        "a: !apply:getattr [!apply:speechbrain_recursive.nn.schedule.standard {n: 2}, n_layers]",
    ],
)
def test_what_a_run_writes_passes(text):
    check_settings(text, "hyperparams.yaml")


def test_what_is_listed_exists_where_it_is_listed():
    for name in NAMES:
        found = locate(name)
        assert found is not None, name
        module, _, last = name.rpartition(".")
        if module.startswith("speechbrain"):  # and is no name that the module imports
            assert (found.__module__, found.__qualname__) == (module, last)


def test_a_recipe_may_name_any_code(write, canary, tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text((write(RUNS["apply"] + OPEN) / "hyperparams.yaml").read_text())
    assert main(["describe", str(recipe)]) == 1
    assert canary.exists()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "results/hyperparams.yaml")
    assert main(["describe", str(tmp_path / "link.yaml")]) == 1
    assert "is not among" in capsys.readouterr().err


def test_describe_takes_a_folder(folder, capsys):
    printed = []
    for path in (folder, folder / "hyperparams.yaml"):
        assert main(["describe", str(path), "--yaml"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "ASRModel" in printed[0]


@pytest.mark.parametrize("trust", [False, True])
def test_language_models_and_teachers_are_checked(write, canary, trust):
    folder = write(RUNS["apply"])
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    teacher = TrainedTeacher(folder)
    teacher.trust = trust
    hparams = SimpleNamespace(trust=trust)
    task = SimpleNamespace(tokenizer=tokenizer, brain=SimpleNamespace(hparams=hparams, device="cpu"))
    for open_it in (lambda: teacher.setup(tokenizer, "cpu"), lambda: ASR._language_model(task, folder)):
        canary.unlink(missing_ok=True)
        with pytest.raises(UserError, match="has no model" if trust else "is not among"):
            open_it()
        assert canary.exists() == trust


def cut(state):
    return dict(list(state.items())[1:])


def renamed(state):
    return cut(state) | {"other": torch.ones(1)}


def reshaped(state):
    return {key: value[None] for key, value in state.items()}


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
@pytest.mark.parametrize("change", [cut, renamed, reshaped])
def test_keys_and_shapes_are_strict(folder, ending, change):
    state = change(torch.load(folder / "model.ckpt"))
    save = save_file if ending == "safetensors" else torch.save
    save(state, folder / f"model.{ending}")
    with pytest.raises(UserError, match=rf"model\.{ending} does not hold this model's weights: .+"):
        load_trained(folder)


def test_safetensors_are_read_first(folder):
    state = {key: value + 1 for key, value in torch.load(folder / "model.ckpt").items()}
    save_file(state, folder / "model.safetensors")
    for _ in range(2):
        model, _ = load_trained(folder)
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        (folder / "model.ckpt").unlink(missing_ok=True)
    with torch.no_grad():
        next(model.parameters()).zero_()
    WarmStart(folder)(model)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pickle", "torch", "beside tensors"])
def test_a_pickle_is_no_weights(folder, canary, name, kind):
    hostile = Hostile(canary)
    with open(folder / name, "wb") as file:
        if kind == "pickle":
            pickle.dump(hostile, file)
        else:
            torch.save({"a": torch.ones(1), "b": hostile} if kind == "beside tensors" else hostile, file)
    trusted = partial(load_trained, folder, trust=True)  # weights are tensors even so
    for open_it in (trusted, partial(WarmStart(folder), None)):
        with pytest.raises(UserError, match=f"{name} holds no weights$") as said:
            open_it()
        assert "\n" not in str(said.value)
    assert not canary.exists()
    if name == "model.ckpt":  # the same file runs where it is unpickled
        with suppress(Exception):
            torch.load(folder / name, weights_only=False)
        assert canary.exists()


def test_a_program_of_torch_is_no_weights(folder):
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), folder / "model.ckpt")
    with pytest.raises(UserError, match=r"model\.ckpt holds no weights"):
        load_trained(folder)


LINKS = ["hyperparams.yaml", "model.ckpt", "tokenizer.json", "manifests", "manifests/dev-clean.csv"]


@pytest.mark.parametrize("name", [*LINKS, ".similarity.md.partial"])
def test_a_link_out_of_the_folder(folder, tmp_path, trained, name):
    path = folder / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(trained / name)
    said = f"{path} is a link out of its folder, to .*; --trust follows it"
    with pytest.raises(UserError, match=said):
        load_trained(folder)
    load_trained(folder, trust=True)


def test_links_that_stay_or_hold_checkpoints(folder, tmp_path):
    (folder / "last.ckpt").symlink_to("model.ckpt")
    (tmp_path / "scratch").mkdir()
    (folder / "save").symlink_to(tmp_path / "scratch")
    (tmp_path / "best").symlink_to(folder)
    load_trained(tmp_path / "best")


@pytest.mark.parametrize("name", ["hyperparams.yaml", "tokenizer.json"])
def test_what_is_no_file(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)  # reading it would wait forever
    with pytest.raises(UserError, match=f"{name} is neither a file nor a folder"):
        load_trained(folder)
