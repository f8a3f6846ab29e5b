"""Every shell command of the READMEs runs: in bash, as it stands, from the folder that the text names.

Each README has a copy of the repository, where its commands run in their order, so that later ones find
what earlier ones wrote. The copy makes them small without changing them: each recipe's YAML builds on
the full one and overrides its sizes, benchmarks have other sizes, pytest runs one file, pip does
nothing, openslr.org is a folder, and nothing else is fetched. Only what stands for a path, a file or a
number is replaced, and torchrun's four processes by two. A server runs beside the commands after it, and
is told to stop at the end. Programs do not start from nothing: they are forks of a process that has
imported PyTorch (``prestart.py``).
"""

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from hashlib import md5
from importlib.metadata import metadata
from pathlib import Path

import pytest
import soundfile

from speechbrain_recursive.data.grammar import sentences
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.hparams import merge

REPOSITORY = Path(__file__).parents[1]
READMES = [
    "README.md",
    "benchmarks/README.md",
    "CONTRIBUTING.md",
    "recipes/LibriSpeech/README.md",
    "recipes/AISHELL-1/README.md",
    "recipes/CommonVoice-fr/README.md",
    "recipes/Switchboard/README.md",
    "recipes/Manifest/README.md",
]
PROGRAMS = ("python", "torchrun", "speechbrain-recursive", "make", "pip", "pre-commit", ".ci/run")
NOT_RUN = {
    ".ci/run": "calls make setup, make test and make lint, which run",
    "make bench": "calls benchmarks, which run one by one",
    "pre-commit install": "writes into .git, which the copy does not have",
    "speechbrain-recursive publish": "the name of the command, without arguments",
    "speechbrain-recursive transcribe": "the name of the command, without arguments",
}
STEPS = 8  # of training
BENCHMARKS = {
    "width": 64,
    "frames": 20,
    "pairs": 6,
    "seconds": 1,
    "rounds": 6,
    "memory": False,
    "utterances": 6,
    "steps": STEPS - 2,
    "warmup": 1,
    "kills": 1,
}
BENCHMARKS_OWN = {"side_by_side": {"steps": 2}, "checkouts": {"utterances": 40}}
SIZE = re.compile(rf" --({'|'.join(BENCHMARKS)}) \d+\b")
IN_ROOT = re.compile("make|python benchmarks/")


def commands(readme):
    """Yield the commands of a README: lines of bash blocks, and spans that are whole commands."""
    text = (REPOSITORY / readme).read_text()
    for language, block, span in re.findall(r"^```(\w*)\n(.*?)^```|`([^`]+)`", text, flags=re.M | re.S):
        before = ""
        for line in block.replace("\\\n", " ").splitlines() if language == "bash" else ():
            if re.match("cd |source ", line):
                before += f"{line} && "
            else:
                yield before + re.sub(r"\s+#.*", "", line)
        line = " ".join(span.split())
        words = re.sub(r"^\w+=\S+ ", "", line).split()
        if line in NOT_RUN or (len(words) > 1 and words[0] in PROGRAMS):
            yield line


def folder_of(command, readme):
    """The folder that the text names: the recipe's, or the root."""
    return "." if IN_ROOT.match(command) or not readme.startswith("recipes") else Path(readme).parent


def place(command, readme):
    """What a command does, without ``source``, ``cd`` and sizes, and the folder where it does so."""
    inside = re.search(r"\bcd (\S+) &&", command)
    folder = Path(folder_of(command, readme), inside[1] if inside else ".")
    return SIZE.sub("", re.sub(r"\b(source|cd) \S+ && ", "", command)), folder


def to_run(readme):
    """The commands of a README, each once, and without those that a README before it has run there."""
    seen = {
        place(command, other)
        for other in READMES[: READMES.index(readme)]
        for command in commands(other)
    }
    found = []
    for command in commands(readme):
        known = place(command, readme) in seen
        seen.add(place(command, readme))
        if not known and command not in NOT_RUN and ("curl " not in command or shutil.which("curl")):
            found.append(command)
    return found


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A folder of programs that start at once."""
    folder = tmp_path_factory.mktemp("bin")
    source = REPOSITORY / "tests/prestart.py"
    for name in ("python", "torchrun", "yamllint", "speechbrain-recursive"):
        (folder / name).write_text(f"#!{sys.executable} -IS\n{source.read_text()}")
        (folder / name).chmod(0o755)
    (folder / "ruff").symlink_to(Path(sys.executable).with_name("ruff"))
    (folder / "pip").symlink_to(shutil.which("true"))
    (folder / "activate").write_text(f'PATH="{folder}:$PATH"\n')
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1"}
    words = [sys.executable, source, folder / "socket"]
    server = subprocess.Popen(words, env=environment, start_new_session=True)
    while not (folder / "socket").exists():
        assert server.poll() is None
        time.sleep(0.05)
    yield folder
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.fixture
def clone(tmp_path, programs, small):
    """A copy of the repository with small recipes and benchmarks."""
    folder = tmp_path / "clone"
    skipped = shutil.ignore_patterns(".git", ".venv", "results", "__pycache__", ".*_cache", "*.egg-info")
    shutil.copytree(REPOSITORY, folder, ignore=skipped)
    (tmp_path / "before").symlink_to(folder)
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(programs)
    (folder / ".venv/installed").touch()
    for recipe in REPOSITORY.glob("recipes/*/hparams/*.yaml"):
        sizes = small(recipe) | {"number_of_steps": STEPS}
        given = "".join(f"{key}: {json.dumps(value)}\n" for key, value in sizes.items())
        copy = folder / recipe.relative_to(REPOSITORY)
        (full := copy.parents[1] / "full").mkdir(exist_ok=True)
        copy.rename(full / copy.name)
        copy.write_text(f"base: ../full/{copy.name}\n{given}")
    for file in folder.glob("benchmarks/*.py"):
        text = file.read_text()
        for option, value in (BENCHMARKS | BENCHMARKS_OWN.get(file.stem, {})).items():
            text = re.sub(rf'("--{option}".*\bdefault=)\w+', rf"\g<1>{value}", text)
        file.write_text(text)
    return folder


def archive(path, folder, name):
    """Write a tarball of a folder's file or folder; returns its MD5 sum."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as file:
        file.add(folder / name, name)
    return md5(path.read_bytes()).hexdigest()


@pytest.fixture
def openslr(clone, tmp_path, librispeech, aishell):
    """A folder in the place of openslr.org, with small corpora and an n-gram."""
    mirror = Path(tempfile.mkdtemp())  # a short path, with which lines keep their length
    sums = {"data_aishell": archive(mirror / "33/data_aishell.tgz", aishell, "data_aishell")}
    for split in ("train-clean-100", "dev-clean", "test-clean"):
        sums[split] = archive(mirror / f"12/{split}.tar.gz", librispeech, f"LibriSpeech/{split}")
    (mirror / "11").mkdir()
    arpa = estimate_ngram(sentences(50, seed=0), tmp_path / "4-gram.arpa", order=4)
    (mirror / "11/4-gram.arpa.gz").write_bytes(gzip.compress(arpa.read_bytes()))
    for file in ("librispeech.py", "aishell.py"):
        path = clone / "speechbrain_recursive/data" / file
        text = path.read_text().replace("https://www.openslr.org/resources", f"file://{mirror}")
        text = re.sub(r'md5 = "\w{32}"', f'md5 = "{sums["data_aishell"]}"', text)
        for split in sums:
            text = re.sub(rf'"{split}": "\w+"', f'"{split}": "{sums[split]}"', text)
        path.write_text(text)
    yield
    shutil.rmtree(mirror)


def free_port():
    """A port that no program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def is_healthy(port):
    """Whether a server of this package answers."""
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health").status == 200
    except OSError:
        return False


@pytest.fixture
def reader(clone, tmp_path, programs, librispeech, aishell, common_voice, switchboard, own_data):
    """``reader(command, home)`` types a command in a folder of the copy, after what it needs."""
    path = tmp_path / "path/to"
    shutil.copytree(librispeech, path / "digits")
    for name in ("data", "digits", "speaker"):
        shutil.copytree(own_data / "manifest", path / name, dirs_exist_ok=True)
    audio, rate = soundfile.read(next(librispeech.rglob("*.flac")))
    for name in ("speech.wav", "more.mp3"):
        soundfile.write(clone / "recipes/LibriSpeech" / name, audio, rate)
    placeholders = {
        SIZE: "",
        "/path/to": str(path),
        r"\bFILE\b": "recipes/LibriSpeech/hparams/mini.yaml",
        r" N\b": " 1",
        "nproc_per_node=4": "nproc_per_node=2",
        r"(?<=port )8000\b|(?<=127\.0\.0\.1:)8000\b": (port := str(free_port())),
    }
    servers = []
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {
        "ROWS": "2_2 relaxed",  # of bicycle_mini.sh
        "LAYERS": "12",  # of foldable_mini.sh, as the next two
        "FOLDED": "4",
        "LOSSES": "",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PET_MASTER_PORT": str(free_port()),  # torchrun's
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTEST_ADDOPTS": "-n 0 tests/test_files.py",
        "PYTHONPATH": str(clone),
        "PYTHON_EXEC": str(programs / "python"),  # which torchrun starts
    }

    def run(command, home):
        for placeholder, value in placeholders.items():
            command = re.sub(placeholder, value, command)
        shutil.rmtree(path / "corpus", ignore_errors=True)
        if "--download True" not in command:
            for corpus in (librispeech, aishell, common_voice, switchboard):
                shutil.copytree(corpus, path / "corpus", dirs_exist_ok=True)
        words, options = ["bash", "-c", command], {"cwd": home, "env": environment, "text": True}
        if "-recursive serve " in command:
            output = (tmp_path / "server.log").open("w+")
            started = subprocess.Popen(
                words, **options, stdout=output, stderr=output, start_new_session=True
            )
            servers.append(started)
            while started.poll() is None and not is_healthy(port):
                time.sleep(0.1)
            output.seek(0)
            return subprocess.CompletedProcess(words, started.poll() or 0, "", output.read())
        return subprocess.run(words, **options, capture_output=True, timeout=200, check=False)

    yield run
    for server in servers:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
        end = time.monotonic() + 30
        while is_healthy(port):
            assert time.monotonic() < end, "SIGTERM does not end the server"


def runs_it_needs(command, folder):
    """Yield what trains the runs that a command reads and nothing has trained: command, folder."""
    for path in re.findall(r"(?<!_folder )\b[\w/-]*results/\w+", command):
        results = folder / path
        if not results.exists():  # it has the name of its recipe
            recipe = results.parents[1] / f"hparams/{results.name}.yaml"
            corpus = "" if merge(recipe)["data_folder"] is None else "--data_folder /path/to/corpus"
            yield f"python train.py hparams/{recipe.name} {corpus}", recipe.parents[1]


def failure(done):
    """What a failed command said, or an empty string."""
    bad = done.returncode or "Traceback" in done.stderr or '{"error"' in done.stdout  # of a server
    return f"{done.stdout[-1000:]}{done.stderr[-3000:]}\nexit code {done.returncode}" if bad else ""


@pytest.mark.parametrize("readme", READMES)
def test_commands_run(readme, clone, openslr, reader):
    failed = {}
    for command in to_run(readme):
        needed = runs_it_needs(command, clone / place(command, readme)[1])
        for line, where in [*needed, (command, clone / folder_of(command, readme))]:
            start = time.perf_counter()
            if said := failure(reader(line, where)):
                failed[line] = said
            print(f"{time.perf_counter() - start:5.1f} s: {line}")
    assert not failed, "\n\n".join(f"{command}\n{said}" for command, said in failed.items())


def test_what_is_not_run_is_still_there():
    assert NOT_RUN.keys() <= {command for readme in READMES for command in commands(readme)}


def test_extras_that_are_installed_exist():
    text = "".join((REPOSITORY / readme).read_text() for readme in READMES)
    extras = set(re.findall(r"pip install .*\[(\w+)\]", text))
    assert extras
    assert extras <= set(metadata("speechbrain-recursive").get_all("Provides-Extra"))


def test_a_wrong_command_fails(clone, reader):
    for command in (
        "python train.py hparams/mini.yaml --lopps 4",
        "python train.py hparams/mini.yml",
        "speechbrain-recursive compare results/mini",
    ):
        assert failure(reader(command, clone / "recipes/LibriSpeech"))


def test_options_can_be_joined_and_repeated(clone, reader):
    folder = clone / "recipes/LibriSpeech"
    forms = ("--loops 2", "--loops=2", "--loops 7 --loops 2")
    said = [reader(f"speechbrain-recursive describe hparams/mini.yaml {form}", folder) for form in forms]
    assert not any(map(failure, said))
    assert len({done.stdout for done in said}) == 1
    assert not failure(reader(f"python train.py hparams/mini.yaml {forms[0]}", folder))
    for form in forms[1:]:  # the same settings go into the same folder
        assert not failure(reader(f"python train.py hparams/mini.yaml {form}", folder))
