"""The READMEs: Python blocks run, YAML blocks build, and the files and options they name exist."""

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from speechbrain.core import RunOptions
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder

from speechbrain_recursive import RecursiveEncoder, cycle
from speechbrain_recursive.__main__ import main
from speechbrain_recursive.hparams import load, merge

REPOSITORY = Path(__file__).parents[1]
RECIPES = sorted(REPOSITORY.glob("recipes/*/README.md"))
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
READMES = [REPOSITORY / "README.md", *RECIPES, REPOSITORY / "benchmarks/README.md", CONTRIBUTING]
OPEN = {"output_folder": "results", "data_folder": "data"}  # what a run must be given
ANALYSES = ["bins", "boundaries", "cad", "paths", "pca", "probe", "similarity"]
COMMANDS = ["describe", "transcribe", "calibrate", "cache-teacher", "compare", "table", "publish"]
COMMANDS += ["export", "serve", *(f"analyze {kind}" for kind in ANALYSES)]
NOT_OURS = re.compile(
    r"my_method\.py|(hyperparams|recipe)\.yaml|hparams/NAME\.yaml"
    r"|(tensorboard|manifests|save|published|lm|.*results/.*|LibriSpeech|data_aishell)/"
    r"|(cv-corpus-.*|fr.*|clips)/"
)


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.M | re.S)


def spans(path):
    """Code: the lines of bash blocks without comments, and what stands between backticks."""
    text = path.read_text()
    lines = [
        re.sub(r"\s+#.*", "", line)
        for block in blocks(path, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return lines + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def hparams_file(path, name):
    """A YAML file that a README names, such as ``hparams/mini.yaml``, or None."""
    found = [path.parent / name, REPOSITORY / "recipes/LibriSpeech" / name]
    return next((file for file in found if file.is_file()), None)


def options_of(command, capsys):
    """The options of a command of ``speechbrain-recursive``."""
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    return set(re.findall(r"--(\w+)", capsys.readouterr().out))


def command_of(span):
    """The command of ``speechbrain-recursive`` that a span of code runs, or None."""
    words = span.removeprefix("speechbrain-recursive ")
    return next((command for command in COMMANDS if re.match(rf"{command}\b", words)), None)


def yaml_block(text, folder, readme):
    """What a YAML block builds, as a file among the recipes of a README."""
    file = folder / "block.yaml"
    file.write_text(re.sub(r"^base: ", f"base: {readme.parent}/hparams/", text, flags=re.M))
    hparams, _ = load(file, OPEN, device="meta")
    return hparams


def name(path):
    return str(path.relative_to(REPOSITORY))


def python_of(path):
    """The names that the Python blocks of a file define, from running them in order."""
    names = {}
    found = blocks(path, "python")
    assert found
    for block in found:
        exec(block, names)
    return names


def test_python_in_the_readme_runs():
    names = python_of(REPOSITORY / "README.md")
    x, deep, deeper, mixed = (names[name] for name in ("x", "deep", "deeper", "mixed"))
    assert deep.shape == deeper.shape == mixed.shape == x.shape


def test_methods_in_contributing_run(tmp_path, monkeypatch):
    names = python_of(CONTRIBUTING)
    (tmp_path / "my_method.py").write_text("\n".join(blocks(CONTRIBUTING, "python")))
    monkeypatch.syspath_prepend(tmp_path)
    with_hook, with_decoder = (
        yaml_block(block, tmp_path, REPOSITORY / "recipes/LibriSpeech/README.md")
        for block in blocks(CONTRIBUTING, "yaml")
    )
    (hook,) = with_hook["model"].encoder.hooks["recurrent"]
    assert type(hook).__name__ == "InputGate"
    assert "every_frame" in with_decoder["decoders"]

    encoder = RecursiveEncoder(TransformerEncoder(2, 2, 16, d_model=8), cycle(2, 3)).eval()
    x = torch.rand(2, 5, 8)
    before = encoder(x)[0]
    hook = names["InputGate"]()
    encoder.add_hook("recurrent", hook)
    assert torch.equal(encoder(x)[0], before)
    hook.gate.data.fill_(1.0)
    assert not torch.allclose(encoder(x)[0], before)

    outputs = SimpleNamespace(log_probs=torch.eye(3)[None, [0, 2, 2, 1]], frames=torch.tensor([3]))
    assert names["EveryFrame"]().build(None)(outputs) == [[0, 2, 2]]


@pytest.mark.parametrize("path", READMES, ids=name)
def test_recipes_that_are_named_exist(path):
    for file in set(re.findall(r"hparams/\w+\.yaml", path.read_text())) - {"hparams/NAME.yaml"}:
        assert hparams_file(path, file), file


@pytest.mark.parametrize("path", READMES, ids=name)
def test_files_that_are_named_exist(path):
    ours = REPOSITORY / "speechbrain_recursive"
    recipe = path.parent if path in RECIPES else REPOSITORY / "recipes/LibriSpeech"
    places = [
        REPOSITORY,
        path.parent,
        ours,
        ours / "nn",
        recipe,
        recipe / "hparams",
        REPOSITORY / "recipes/common",
    ]
    text = path.read_text()
    for span in spans(path):
        for file in re.findall(r"(?<![\w/<>.-])[\w/-]+\.(?:py|yaml)\b|^[\w/-]+/$", span):
            if not NOT_OURS.fullmatch(file):
                assert any((place / file).exists() for place in places), file
    for link in re.findall(r"\]\((?!http|#)([^)#]+)", text):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", READMES, ids=name)
def test_anchors_that_are_linked_exist(path):
    for file, anchor in re.findall(r"\]\((?!http)([^)#]*)#([\w-]+)\)", path.read_text()):
        titles = re.findall(r"^#+ (.*)$", (path.parent / file if file else path).read_text(), flags=re.M)
        assert anchor in {title.lower().replace(" ", "-") for title in titles}, anchor


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_every_recipe_is_named(path):
    text = path.read_text()
    for recipe in sorted(path.parent.glob("hparams/*.yaml")):
        assert f"`{recipe.name}`" in text


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_yaml_blocks_build(path, tmp_path):
    for block in blocks(path, "yaml"):
        yaml_block(block, tmp_path, path)


@cache
def keys_of_recipes():
    return set().union(*(merge(file) for file in REPOSITORY.glob("recipes/*/hparams/*.yaml")))


@pytest.mark.parametrize("path", READMES, ids=name)
def test_options_that_are_shown_exist(path, capsys):
    run = RunOptions().as_dict().keys() | {"nproc_per_node"}
    in_yaml = run | keys_of_recipes()
    sources = "".join(file.read_text() for file in REPOSITORY.glob("benchmarks/*.py"))
    in_benchmarks = set(re.findall(r'"--(\w+)"', sources))
    by_command = {command: options_of(command, capsys) for command in COMMANDS}
    for span in spans(path):
        command = command_of(span)
        recipe = re.match(r"(?:.* )?(?:hparams/)?(\w+\.yaml) --", span)
        if span.startswith("pip "):
            continue
        if "benchmarks/" in span or path.parent.name == "benchmarks":
            known = in_benchmarks
        elif recipe and command in (None, "cache-teacher", "describe"):
            known = (
                by_command[command or "describe"]
                | run
                | merge(hparams_file(path, f"hparams/{recipe[1]}")).keys()
            )
            known |= in_yaml if recipe[1] == "finetune.yaml" else set()  # the keys of its model
        elif command:
            known = by_command[command]
        else:  # an option by itself
            known = in_yaml.union(*by_command.values())
        used = set(re.findall(r"(?<![\w-])--([a-z]\w*)", span))
        assert used <= known, span
