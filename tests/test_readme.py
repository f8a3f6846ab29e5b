"""What the READMEs show runs, and the files that they name are there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
READMES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("recipes/*/README.md"))]


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.M | re.S)


def test_python_in_the_readme_runs():
    names = {}
    found = blocks(REPOSITORY / "README.md", "python")
    assert found
    for block in found:
        exec(block, names)
    x, deep, deeper, mixed = (names[name] for name in ("x", "deep", "deeper", "mixed"))
    assert deep.shape == deeper.shape == mixed.shape == x.shape


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_recipes_that_are_named_are_there(path):
    for name in re.findall(r"[\w/.-]*hparams/\w+\.yaml", path.read_text()):
        places = [path.parent / name, REPOSITORY / "recipes/LibriSpeech" / name]
        assert any(place.is_file() for place in places), name


@pytest.mark.parametrize("path", READMES[1:], ids=lambda path: path.parent.name)
def test_every_recipe_is_named(path):
    text = path.read_text()
    for recipe in sorted(path.parent.glob("hparams/*.yaml")):
        assert f"`{recipe.name}`" in text


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_commands_that_are_shown_are_known(path):
    from speechbrain_recursive import cli

    commands = {file.stem for file in Path(cli.__path__[0]).glob("[a-z]*.py")}
    for block in blocks(path, "bash"):
        for command in re.findall(r"^speechbrain-recursive (\w+)", block, flags=re.M):
            assert command in commands
