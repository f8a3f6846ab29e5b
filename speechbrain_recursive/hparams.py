"""HyperPyYAML files that state only what differs from the files they build on.

A file may name others under ``base`` (a path or a list of paths, relative to itself). They are merged
in that order and the file's own keys come last; tags and references (``!new:``, ``!ref``) work across
all of them, since merging happens before anything is resolved.
"""

import difflib
import io
import re
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError

import torch
from hyperpyyaml import load_hyperpyyaml
from hyperpyyaml.core import recursive_update, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from speechbrain_recursive.errors import UserError, one_line

# What constructors raise at arguments that they cannot take.
_CANNOT_BUILD = (ValueError, TypeError, AttributeError, ImportError, AssertionError, RuntimeError)


def read(path, overrides=None):
    """Merge a YAML file with its bases and overrides and resolve its references.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    overrides : str or dict, optional
        Values that replace the files' own, by top-level key; YAML text if a string.

    Returns
    -------
    str
        YAML that needs no other file.

    Raises
    ------
    UserError
        If a file is missing or no YAML, or an override names a key that no file has.
    """
    tree = merge(path)
    overrides = parse_overrides(overrides) if isinstance(overrides, str) else overrides or {}
    for key in overrides:
        if key not in tree:
            near = difflib.get_close_matches(key, tree, n=1)
            hint = f"; did you mean --{near[0]}?" if near else ""
            raise UserError(f"{path} has no key '{key}' to override{hint}")
    text = io.StringIO()
    try:
        recursive_update(tree, overrides)
        YAML().dump(tree, text)
        return resolve_references(text.getvalue()).getvalue()
    except (KeyError, ValueError, TypeError) as error:
        missing = re.search(r"'(\w+)' is a !PLACEHOLDER", str(error))
        if missing:
            raise UserError(f"{path} leaves {missing[1]} open: give it with --{missing[1]}") from error
        raise UserError(f"{path}: {_one_line(error)}") from error


def load(path, overrides=None, device=None):
    """Build what a YAML file describes.

    The random generators are seeded with the file's ``seed`` first, so that initial weights depend on
    nothing else.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    overrides : str or dict, optional
        See :func:`read`.
    device : str, optional
        Where modules are built; ``meta`` takes no memory.

    Returns
    -------
    dict
        Objects by key.
    str
        The merged YAML, as :func:`read` gives it.

    Raises
    ------
    UserError
        If something in the file cannot be built, such as a schedule of zero loops.
    """
    text = read(path, overrides)
    try:
        torch.manual_seed(YAML().load(text).get("seed", 0))
        with torch.device(device) if device else nullcontext():
            return load_hyperpyyaml(text), text
    except _CANNOT_BUILD as error:
        raise UserError(f"{path}: {_one_line(error)}") from error


def load_trained(folder):
    """Build the model of a results folder with the weights that were evaluated.

    Arguments
    ---------
    folder : str or pathlib.Path
        With ``hyperparams.yaml`` and ``model.ckpt``.

    Returns
    -------
    torch.nn.Module
        The model, in eval mode.
    dict
        All hyperparameters.

    Raises
    ------
    UserError
        If the folder holds no finished run, or its weights are not those of its YAML.
    """
    folder = Path(folder)
    weights = folder / "model.ckpt"
    if not weights.is_file():
        raise UserError(f"{folder} holds no finished run: there is no {weights.name}")
    hparams, _ = load(folder / "hyperparams.yaml")
    load_weights(weights, hparams["model"].load_state_dict)
    return hparams["model"].eval(), hparams


def load_weights(path, into):
    """Read a state dict and hand it on.

    Arguments
    ---------
    path : str or pathlib.Path
        A file of tensors by key; nothing in it is executed.
    into : callable
        Takes the state dict, such as a model's ``load_state_dict``.

    Raises
    ------
    UserError
        If the file is missing, holds something else, or its keys or shapes are not the model's.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} is not there")
    try:
        into(torch.load(path, map_location="cpu", weights_only=True))
    except RuntimeError as error:
        # a line each of what is missing, what is unexpected and what has another shape
        said = "; ".join(one_line(line, width=300) for line in str(error).splitlines()[1:] or [error])
        raise UserError(f"{path} does not hold this model's weights: {one_line(said, 900)}") from error
    except (UnpicklingError, EOFError, LookupError, TypeError) as error:
        raise UserError(f"{path} holds no weights") from error


def parse_overrides(overrides):
    """Overrides as a dict.

    Arguments
    ---------
    overrides : str
        YAML text, a line for each top-level key.

    Returns
    -------
    dict

    Raises
    ------
    UserError
        If it is no such text, or a key stands in it twice.

    Example
    -------
    >>> dict(parse_overrides("loops: 8"))
    {'loops': 8}
    """
    try:
        tree = YAML().load(overrides) or {}
    except YAMLError as error:
        raise UserError(f"the overrides are no valid YAML: {_one_line(error)}") from error
    if not isinstance(tree, dict):
        raise UserError(f"overrides are pairs of --key value, not: {overrides}")
    return tree


def merge(path, above=()):
    """The tree of a YAML file and its bases, before anything is resolved.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    above : tuple of pathlib.Path
        Files that it is a base of.

    Returns
    -------
    dict
        By top-level key, with the tags of HyperPyYAML.

    Raises
    ------
    UserError
        If a file is missing, no YAML, or its own base.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not there" + (f" (base of {above[-1]})" if above else ""))
    if path in above:
        raise UserError(f"{path} is its own base")
    try:
        tree = YAML().load(path.read_text(encoding="utf-8")) or {}
    except YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {_one_line(error)}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no keys and values")
    bases = tree.pop("base", [])
    merged = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged = _update(merged, merge((path.parent / base).resolve(), (*above, path)))
    return _update(merged, tree)


def _update(tree, changes):
    """Replace values, or merge them where both are plain mappings."""
    if not tree:
        return changes
    for key, value in changes.items():
        both = _is_plain(value) and _is_plain(tree.get(key))
        tree[key] = _update(tree[key], value) if both else value
    return tree


def _is_plain(value):
    return isinstance(value, dict) and getattr(getattr(value, "tag", None), "value", None) is None


def _one_line(error):
    if isinstance(error, MarkedYAMLError):
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return one_line(" ".join(str(arg) for arg in error.args))
