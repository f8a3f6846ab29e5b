"""HyperPyYAML files that state only what differs from the files they build on.

A file may name others under ``base``, a path or a list of paths relative to itself. Bases are merged in
order, each into those before it, then the file's own keys, then the command line, all by the rule in
:mod:`speechbrain_recursive.merging`. References are resolved after that, so they work across files.

A base may also be the model that a key names: ``base: !ref <warm_start>`` stands for the
``recipe.yaml`` of that model, in a folder or on the Hub, and for nothing while ``warm_start`` is open.
"""

import difflib
import random
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from pydoc import ErrorDuringImport
from typing import Any

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from hyperpyyaml.core import resolve_references
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file, read_text
from speechbrain_recursive.hub import folder_of
from speechbrain_recursive.merging import dump, explain, merge_trees, names_in, parse, references, tag
from speechbrain_recursive.overrides import Overrides, parse_overrides
from speechbrain_recursive.safety import SETTINGS, check_settings, read_settings
from speechbrain_recursive.weights import load_weights, weights_in

RECIPE = "recipe.yaml"  # in results folders
_TO_RESOLVE = re.compile("!(?!(new|name|module|apply):|tuple )")  # other tags, however they are written


def merge(path: str | Path, overrides: Overrides = None, trust: bool = True) -> Mapping[str, Any]:
    """Merge a YAML file with its bases and overrides, without resolving references.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    overrides : str, list of str or dict, optional
        See :func:`parse_overrides`.
    trust : bool
        False for the settings of a folder, which :mod:`speechbrain_recursive.safety` checks.

    Returns
    -------
    dict
        By top-level key, with the tags of HyperPyYAML.

    Raises
    ------
    UserError
        If a file is missing, not valid YAML or its own base, an override names a key that no file has,
        or the file is not trusted and names what is not listed.
    """
    path = Path(path)
    overrides = parse_overrides(overrides)
    tree = _add_file(CommentedMap(), path, (), overrides) if trust else parse(read_settings(path), path)
    for key in overrides:
        if key not in tree:
            if name := next(_open_bases(tree | overrides, path), None):
                raise UserError(f"{path} leaves {name} open: give it with --{name}")
            near = difflib.get_close_matches(str(key), tree, n=1)
            hint = f"; did you mean --{near[0]}?" if near else ""
            raise UserError(f"{path} has no key '{key}' to override{hint}")
    return merge_trees(tree, overrides, path)


def _add_file(
    tree: Mapping[str, Any], path: Path, above: tuple[Path, ...], given: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Merge a file's bases and then its own keys into a tree.

    `above` are the files that build on it, `given` the keys that replace its own.
    """
    if path in above:
        raise UserError(f"{path} is its own base")
    missing = f"{path} does not exist (base of {above[-1]})" if above else None
    own = parse(read_text(path, missing), path)
    bases = own.pop("base", [])
    given = own | given
    for base in bases if isinstance(bases, list) else [bases]:
        if tag(base) is None:
            tree = _add_file(tree, (path.parent / str(base)).resolve(), (*above, path), given)
        elif tag(model := given.get(*names_in(base.value))) != "!PLACEHOLDER":
            tree = merge_trees(tree, read_recipe(recipe_of(model), given.get("trust", False)), path)
    return merge_trees(tree, own, path)


def _open_bases(tree, path):
    """Keys of models that a file builds on and that are not given."""
    bases = parse(read_text(path), path).get("base", [])
    tagged = [base.value for base in (bases if isinstance(bases, list) else [bases]) if tag(base)]
    return (n for value in tagged for n in names_in(value) if tag(tree.get(n)) == "!PLACEHOLDER")


def read_recipe(path: str | Path, trust: bool = False) -> Mapping[str, Any]:
    """Parse the ``recipe.yaml`` of a folder, without resolving references.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    trust : bool
        Whether it may name any code. Otherwise it is checked before and after it is resolved; see
        :mod:`speechbrain_recursive.safety`.

    Returns
    -------
    dict
        By top-level key, with the tags of HyperPyYAML.

    Raises
    ------
    UserError
        If there is no such file, it is not valid YAML, or it names what it may not.
    """
    text = read_text(path) if trust else read_settings(path, references=True)
    if not trust:
        check_settings(resolve(text), path)
    return parse(text, path)


def recipe_of(model: str | Path) -> Path:
    """The ``recipe.yaml`` of a finished run, whose references are not resolved.

    Arguments
    ---------
    model : str or pathlib.Path
        Its results folder, the ``model.ckpt`` in it, or what :func:`~speechbrain_recursive.hub.fetch`
        takes.

    Raises
    ------
    UserError
        If there is no such file.
    """
    path = folder_of(str(model)) / RECIPE
    return check_file(path, f"{model} holds no finished run: there is no {path}")


def load(
    path: str | Path, overrides: Overrides = None, device: str | None = None, trust: bool = True
) -> tuple[dict[str, Any], str]:
    """Build what a YAML file describes. It runs all that the file names, unless ``trust`` is False.

    Initial weights depend on the file's ``seed`` alone, and the caller's random state does not change.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    overrides : str, list of str or dict, optional
        See :func:`parse_overrides`.
    device : str, optional
        Where modules are built; ``meta`` takes no memory.
    trust : bool
        True for recipes, which may name any code. False for the settings of a folder: they may name
        what :mod:`speechbrain_recursive.safety` lists, which is checked before anything is built.

    Returns
    -------
    dict
        Objects by key.
    str
        The merged YAML. It needs no other file, and its references are not resolved.

    Raises
    ------
    UserError
        If :func:`merge` raises it, a reference or placeholder cannot be resolved, or something in the
        file cannot be built, such as a schedule of zero loops. Its ``__cause__`` is what was raised;
        unless that is about a value, the message says where it was raised as well.
    """
    tree = merge(path, overrides, trust)
    text = dump(tree)
    if not trust:
        check_settings(text, f"{path}, merged")  # what is loaded, to the letter
    try:
        resolved = resolve(text) if trust else text  # in which no reference passes the check
        seed = tree.get("seed", 0)
        seed = int(parse(resolved, path)["seed"] if tag(seed) else seed)
        with _seeded(seed), torch.device(device) if device else nullcontext():
            return load_hyperpyyaml(resolved), text
    except Exception as error:  # whatever a constructor raises
        if isinstance(error, ErrorDuringImport):
            error = error.value
            if not isinstance(error, Exception):  # Ctrl-C
                raise error from None
        said = explain(error)
        if open_key := re.search(r"'(\w+)' is a !PLACEHOLDER", said):
            raise UserError(f"{path} leaves {open_key[1]} open: give it with --{open_key[1]}") from error
        if gone := re.search(r'reference "(.+)" is not valid', said):
            pattern = re.compile(rf"<{re.escape(gone[1])}[.>]")
            users = (key for key, value in references(tree) if pattern.search(value))
            said = f"{next(users, 'something')} refers to {gone[1]}, which does not exist or was removed"
        if isinstance(error, RecursionError) or "'!ref'" in said:
            said = "references form a circle"
        elif not isinstance(error, (ValueError, TypeError, ImportError, SyntaxError, YAMLError)):
            origin = traceback.extract_tb(error.__traceback__)[-1]
            said += f" ({type(error).__name__} in {origin.filename}, line {origin.lineno})"
        raise UserError(f"{path}: {said}") from error


@lru_cache(maxsize=4)  # a run builds, logs and stores the same settings
def resolve(text: str) -> str:
    """Resolve the references of a merged YAML, for tools that load it without this package.

    Example
    -------
    >>> resolve("loops: 3\\nsteps: !ref <loops> * 4\\n")
    'loops: 3\\nsteps: 12\\n'
    """
    before = None
    while text != before:  # a reference to a later reference takes HyperPyYAML another pass
        before, text = text, resolve_references(text).getvalue()
        if not _TO_RESOLVE.search(text):
            break
    return text


def require(hparams: Mapping[str, Any], keys: Iterable[str], path: str | Path) -> None:
    """Refuse settings that lack keys which each run has.

    Arguments
    ---------
    hparams : mapping of str to Any
        From :func:`load`.
    keys : iterable of str
        The keys.
    path : str or pathlib.Path
        The file that error messages name.

    Raises
    ------
    UserError
        If a key is missing.
    """
    for key in keys:
        if key not in hparams:
            raise UserError(f"{path} has no {key}, which the settings of each run have")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generators of Python, NumPy and PyTorch, and restore their states afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def load_trained(
    folder: str | Path, kind: type = torch.nn.Module, trust: bool = False
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Build the model of a results folder with the weights that were evaluated.

    Arguments
    ---------
    folder : str or pathlib.Path
        With ``hyperparams.yaml`` and ``model.safetensors`` or ``model.ckpt``.
    kind : type
        The class that the model must have.
    trust : bool
        Whether the YAML may name any code, such as your own modules, and files may be links to
        elsewhere. Otherwise the YAML may name what :mod:`speechbrain_recursive.safety` lists. Weights
        are read as tensors in either case.

    Returns
    -------
    torch.nn.Module
        The model, in eval mode.
    dict
        All hyperparameters.

    Raises
    ------
    UserError
        If the folder holds no finished run or another kind of model, names what it may not, or its
        weights do not fit its YAML.
    """
    folder = Path(folder)
    if folder.is_file():
        raise UserError(f"{folder} is a file, not the folder of a finished run")
    weights = weights_in(folder)
    if not weights.is_file():
        raise UserError(f"{folder} holds no finished run: there is no {weights.name}")
    hparams, _ = load(folder / SETTINGS, trust=trust)
    require(hparams, ["model"], folder / SETTINGS)
    model = hparams["model"]
    if not isinstance(model, kind):
        raise UserError(f"{folder} holds {type(model).__name__}, not {kind.__name__}")
    load_weights(weights, model.load_state_dict)
    return model.eval(), hparams
