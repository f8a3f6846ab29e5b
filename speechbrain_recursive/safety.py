"""Checks of folders that are opened: their settings may name what is listed, and no link leads out.

A results folder can come from anyone, and HyperPyYAML calls whatever a file names. Before anything of
such a file is imported, read or built, its tags must be ``!new:``, ``!name:`` or ``!apply:`` with a name
of :data:`speechbrain_recursive.allowed.NAMES`, or ``!tuple``. References, includes and bases are refused
as well: a run writes its settings resolved and in one file.
"""

import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import ReusedAnchorWarning
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from speechbrain_recursive.allowed import ATTRIBUTES, BARE, NAMES
from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import check_file
from speechbrain_recursive.merging import invalid
from speechbrain_recursive.weights import weights_in

SETTINGS = "hyperparams.yaml"
ELSEWHERE = {"save"}  # may be a link to another disk: what opens a folder does not read it
MOST_BYTES = 2**20
MOST_VALUES = 20_000  # with aliases written out; the largest recipe here has 900
MOST_LEVELS = 40

_PLAIN = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
}


def in_folder(path: str | Path) -> bool:
    """Whether a YAML file holds the settings of a results folder; else it is a recipe.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.

    Example
    -------
    >>> in_folder("results/mini/1234/hyperparams.yaml"), in_folder("hparams/mini.yaml")
    (True, False)
    """
    paths = Path(path), Path(os.path.realpath(path))
    return any(p.name == SETTINGS or weights_in(p.parent).exists() for p in paths)


def check_folder(folder: str | Path) -> None:
    """Refuse links that lead out of a folder, and what is neither a file nor a folder.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder, which may be reached by a link itself. ``save`` may be a link.

    Raises
    ------
    UserError
        If there is such an entry, in the folder or in its ``manifests``.
    """
    folder = Path(folder)
    root = Path(os.path.realpath(folder))
    for path in (*folder.glob("*"), *folder.glob(".*"), *folder.glob("manifests/*")):
        target = Path(os.path.realpath(path))
        if path.name not in ELSEWHERE and not target.is_relative_to(root):
            raise UserError(f"{path} is a link out of its folder, to {target}; --trust follows it")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is neither a file nor a folder")


def check_settings(text: str, path: str | Path, references: bool = False) -> None:
    """Refuse YAML that names what is not listed, or that aliases make too large.

    Arguments
    ---------
    text : str
        The YAML of a folder's settings.
    path : str or pathlib.Path
        What error messages call it.
    references : bool
        Whether ``!ref`` and ``!copy`` are allowed. Check again what they are resolved to.

    Raises
    ------
    UserError
        If the text is no valid YAML, too large or nested too deeply, or has a tag that is not allowed;
        the message names the line and the tag.

    Example
    -------
    >>> check_settings("n: !apply:len [[1, 2]]", "a.yaml")
    >>> check_settings("n: 1\\nm: !apply:os.system [reboot]", "a.yaml")
    Traceback (most recent call last):
    speechbrain_recursive.errors.UserError: a.yaml, line 2: !apply:os.system is not among what a ...
    """
    if len(text.encode()) > MOST_BYTES:
        raise UserError(f"{path} is too large for settings: over {MOST_BYTES // 2**20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ReusedAnchorWarning)
            root = YAML().compose(text)
        if root is not None:
            _measure(root, path)
    except UserError:
        raise
    except Exception as error:  # not only ruamel.yaml's own, such as RecursionError
        raise invalid(path, error) from error
    for node, what in _refused(root, references):
        raise UserError(
            f"{path}, line {node.start_mark.line + 1}: {one_line(what, 120)} is not among what a folder "
            "may name, since it could run any code; if you trust the folder, as one that names your own "
            "modules, add --trust (to train.py, --trust True)"
        )


def read_settings(path: str | Path, references: bool = False) -> str:
    """Read and check the settings of a folder; see :func:`check_folder` and :func:`check_settings`.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    references : bool
        See :func:`check_settings`.

    Returns
    -------
    str

    Raises
    ------
    UserError
        If these raise it, or there is no such file.
    """
    path = check_file(path)
    check_folder(path.parent)
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from None
    check_settings(text, path, references)
    return text


def _children(node):
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, SequenceNode) else []


def _measure(root: Node, path: str | Path) -> None:
    """Refuse a tree that is too large or too deep once its aliases are written out."""
    found = {}  # values and levels below a node

    def measure(node):
        if id(node) not in found:
            found[id(node)] = math.inf, 0  # until it is known: an alias to what it stands in
            below = [measure(child) for child in _children(node)]
            values = 1 + sum(values for values, _ in below)
            found[id(node)] = values, 1 + max((levels for _, levels in below), default=0)
        return found[id(node)]

    values, levels = measure(root)
    if values > MOST_VALUES:
        raise UserError(f"{path}: aliases written out, it would hold over {MOST_VALUES:,} values")
    if levels > MOST_LEVELS:
        raise UserError(
            f"{path}: aliases written out, it would be nested over {MOST_LEVELS} levels deep"
        )


def _refused(root: Node | None, references: bool) -> Iterator[tuple[Node, str]]:
    """Nodes that are not allowed, with what to call them."""
    if isinstance(root, MappingNode):
        yield from ((key, "base") for key, _ in root.value if key.value == "base")
    seen, left = set(), [] if root is None else [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if not (_allowed(node) or (references and node.tag in ("!ref", "!copy"))):
            yield node, node.tag if node.tag not in _PLAIN else "what stands between these parentheses"
        left += reversed(_children(node))


def _allowed(node):
    kind, _, name = node.tag.partition(":")
    if node.tag in _PLAIN or node.tag == "!tuple":
        return not isinstance(node, ScalarNode) or _is_plain_tuple(node)
    if kind not in ("!new", "!name", "!apply"):
        return False
    if name == "getattr":
        return kind == "!apply" and _is_plain_attribute(node)
    return name in NAMES and not (name in BARE and node.value)


def _is_plain_tuple(node):
    """Whether a scalar is no tuple, or one of words and numbers.

    HyperPyYAML takes any string in parentheses for a tuple, whose inside it loads as any YAML.
    """
    text = node.value.strip()
    if node.tag != "!tuple" and not (text.startswith("(") and text.endswith(")")):
        return True
    return re.fullmatch(r"\([\w\s.,+-]*\)", text) is not None


def _is_plain_attribute(node):
    """Whether a call of ``getattr`` is what HyperPyYAML makes of a recipe's ``<schedule.n_layers>``."""
    if not isinstance(node, SequenceNode) or len(node.value) != 2:
        return False
    owner, attribute = node.value
    built = isinstance(owner, CollectionNode) and owner.tag.startswith(("!new:", "!apply:speechbrain"))
    return built and isinstance(attribute, ScalarNode) and attribute.value in ATTRIBUTES
