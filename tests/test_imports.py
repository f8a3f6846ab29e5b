"""Imports run one way, in no circle; schedule, depth and the n-gram search stay free of torch."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "speechbrain_recursive"
COMMON = {  # that anyone may import
    "allowed",
    "bars",
    "errors",
    "files",
    "hparams",
    "hub",
    "merging",
    "overrides",
    "safety",
    "weights",
}
ROOMS = {
    "nn": set(),
    "data": set(),
    "objectives": {"nn"},
    "decoding": {"nn"},
    "analysis": {"nn"},
    "training": {"nn", "objectives", "decoding", "analysis", "data"},
    "inference": {"nn", "decoding", "data", "analysis"},
    "export": {"nn", "decoding", "data", "analysis", "inference"},
    "serving": {"nn", "data", "analysis", "inference"},
    **{name: set() for name in COMMON},
}
ENTRY_POINTS = {"__main__", "cli"}


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name; a folder stands for its ``__init__.py``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file, relative ones made absolute.

    ``from a import b`` gives both ``a`` and ``a.b``, since `b` may be a module.
    """
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            names.add(origin)
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return names


def wrong_directions(package: Path) -> list[str]:
    """Imports that a room may not make, as lines that name the file and what it imports."""
    wrong = []
    for name, path in modules(package).items():
        room = name.split(".")[1] if "." in name else "__init__"
        if room in ENTRY_POINTS:
            continue
        known = ROOMS.get(room, set()) | COMMON | {room}
        for imported in imports(name, path):
            parts = imported.split(".")
            if parts[0] != package.name or len(parts) < 2:
                continue
            if parts[1] in ROOMS.keys() | ENTRY_POINTS and parts[1] not in known:
                wrong.append(f"{path.relative_to(package.parent)} imports {imported}")
    return sorted(wrong)


def cycle(package: Path) -> list[str]:
    """Modules that import each other in a circle, or nothing."""
    files = modules(package)
    graph = {name: imports(name, path) & files.keys() - {name} for name, path in files.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_rooms_import_in_one_direction():
    assert wrong_directions(PACKAGE) == []


def test_every_module_stands_in_a_room():
    tops = {name.split(".")[1] for name in modules(PACKAGE) if "." in name}
    assert tops <= ROOMS.keys() | ENTRY_POINTS


def test_no_import_cycle():
    assert cycle(PACKAGE) == []


@pytest.mark.parametrize("module", ["schedule", "depth"])
def test_depth_as_data_imports_no_torch(module):
    code = f"import sys, speechbrain_recursive.nn.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
    names = imports(f"speechbrain_recursive.nn.{module}", PACKAGE / "nn" / f"{module}.py")
    assert not {name for name in names if name.split(".")[0] == "torch"}


@pytest.mark.parametrize("module", ["arpa", "lexicon", "lm", "ngram", "prefix"])
def test_the_ngram_search_imports_neither_torch_nor_speechbrain(module):
    code = f"import sys, speechbrain_recursive.decoding.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "speechbrain", "kenlm", "flashlight"} & set(done.stdout.split())


def test_recipes_hold_no_logic():
    for path in REPOSITORY.glob("recipes/*/train.py"):
        assert len(path.read_text().splitlines()) <= 100, f"{path} has more than 100 lines"


def plant(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "house"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nn/encoder.py", "import house.training.brain"),
        ("nn/encoder.py", "from house import data"),
        ("nn/sub/deep.py", "from ...decoding import greedy"),
        ("nn/sub/__init__.py", "from ...decoding import greedy"),
        ("objectives/ctc.py", "def f():\n    from ..data.tokenizers import load_tokenizer"),
        ("analysis/report.py", "from house.decoding.greedy import decode"),
        ("data/prepare.py", "from house.nn import schedule"),
        ("training/brain.py", "from house.inference import publish"),
        ("inference/load.py", "import house.training.run as run"),
        ("hparams.py", "from .training import run"),
        ("__init__.py", "from .nn import schedule"),
        ("nn/encoder.py", "from .. import cli"),
    ],
)
def test_finds_an_import_against_the_direction(tmp_path, name, text):
    (line,) = {line.split(" imports ")[0] for line in wrong_directions(plant(tmp_path, {name: text}))}
    assert line == f"house/{name}"


def test_lets_pass_what_is_allowed(tmp_path):
    house = plant(
        tmp_path,
        {
            "__main__.py": "from house import training, inference",
            "training/run.py": "from house.analysis import report\nfrom ..hparams import load",
            "nn/encoder.py": "from . import schedule\nfrom house.errors import UserError",
            "inference/describe.py": "from house.analysis.cost import multiply_adds",
            "data/pipeline.py": "import torch\nfrom . import tokenizers",
        },
    )
    assert wrong_directions(house) == []


@pytest.mark.parametrize(
    "files",
    [
        {"nn/a.py": "from house.nn import b", "nn/b.py": "from . import a"},
        {"nn/__init__.py": "from house.nn.a import x", "nn/a.py": "from house.nn import y"},
        {
            "nn/a.py": "import house.nn.b",
            "nn/b.py": "from .c import f",
            "nn/c.py": "from .a import g",
        },
    ],
)
def test_finds_a_cycle(tmp_path, files):
    assert cycle(plant(tmp_path, files))
    assert not cycle(plant(tmp_path, dict.fromkeys(files, "")))


def test_nothing_outside_nn_reaches_through_the_model():
    """Parts of a model are asked, not what is in them; kinds of models are told by their class."""
    inside = re.compile(r"\bmodel\.transformer\b|\.encoder\.(layers|norm|hooks|run\w*)\b|\bhasattr\(")
    for room in ("training", "inference", "serving", "decoding", "analysis", "objectives", "cli"):
        for path in sorted((PACKAGE / room).rglob("*.py")):
            found = inside.search(path.read_text())
            assert found is None, f"{path.relative_to(REPOSITORY)}: {found[0]}"
