"""YAML text and trees: parsing, merging, writing.

One rule merges a file with its bases and the command line with the file, at every level:

- A plain mapping merges into the mapping that is there. That is a plain mapping or the arguments of a
  tagged object (``!new:``, ``!name:``, ``!apply:``), which keeps its tag.
- ``!remove`` removes the key, which must exist.
- Any other value replaces what is there: a list, a number, a tagged value (even one with the same tag).

A plain mapping cannot merge into a reference or into positional arguments, so that is an error.
"""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, merge_attrib
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from speechbrain_recursive.errors import UserError, one_line


def parse(text: str, name: object, repeats: bool = False) -> Mapping[str, Any]:
    """Parse YAML text. Tags are kept, comments are not.

    Arguments
    ---------
    text : str
        Keys and values, or nothing.
    name : object
        What error messages call the text.
    repeats : bool
        Whether a top-level key may be repeated; the last one wins.

    Returns
    -------
    dict

    Raises
    ------
    UserError
        If the text is not valid YAML, or holds something other than keys and values.

    Example
    -------
    >>> dict(parse("loops: 1\\nloops: 2", "a.yaml", repeats=True))
    {'loops': 2}
    """
    yaml = YAML()
    try:
        # ruamel.yaml does not read {a: !remove}, which is valid in YAML 1.2
        node = yaml.compose(re.sub(r"!remove(?=[,}])", "!remove ", text))
        if node is None:
            return CommentedMap()
        if not isinstance(node, MappingNode):
            raise UserError(f"{name}: there must be keys and values, not: {one_line(text)}")
        _normalize(node)
        if repeats:
            node.value = list({key.value: (key, value) for key, value in node.value}.values())
        return yaml.constructor.construct_document(node)
    except UserError:
        raise
    except Exception as error:  # not only ruamel.yaml's own: `!!bool 3` makes it raise KeyError
        raise invalid(name, error) from error


def invalid(name: object, error: Exception) -> UserError:
    """What to raise where ruamel.yaml refuses a text, which messages call `name`."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    return UserError(f"{name}{line}: no valid YAML: {explain(error)}")


def explain(error: Exception) -> str:
    """What an error of ruamel.yaml or HyperPyYAML says, in one line."""
    plain = str(error) if isinstance(error, SyntaxError) else " ".join(map(str, error.args))
    said = getattr(error, "problem", None) or plain
    return one_line(said or type(error).__name__)


def _normalize(node: Node) -> None:
    """Drop comments and names of anchors, which are valid in one file only; shared nodes stay shared.

    Only collections of plain scalars keep flow style: ruamel.yaml writes ``[!new:X {a: 1}]`` without its
    braces, and reads that as an object without arguments. A resolved reference can lead to it, too.
    """
    node.anchor = node.comment = None
    if isinstance(node, CollectionNode):
        pairs = isinstance(node, MappingNode)
        children = [child for pair in node.value for child in pair] if pairs else node.value
        if any(isinstance(child, CollectionNode) or child.tag.startswith("!") for child in children):
            node.flow_style = False
        for child in children:
            _normalize(child)


def dump(tree: Mapping[str, Any]) -> str:
    """Write a tree as YAML text.

    Arguments
    ---------
    tree : dict
        From :func:`parse` or :func:`merge_trees`.

    Returns
    -------
    str

    Example
    -------
    >>> dump(parse("steps: !ref <epochs> * 10", "a.yaml"))
    'steps: !ref <epochs> * 10\\n'
    """
    text = io.StringIO()
    YAML().dump(tree, text)
    return text.getvalue()


def merge_trees(
    tree: Mapping[str, Any], changes: Mapping[str, Any], path: str | Path, above: str = ""
) -> Mapping[str, Any]:
    """Merge changes into a tree by the rule that the module describes.

    Arguments
    ---------
    tree : dict
        From :func:`parse`; it is not modified.
    changes : dict
        What to change, by key.
    path : str or pathlib.Path
        The file that error messages name.
    above : str
        The key that `tree` stands under.

    Returns
    -------
    dict
        The tree with the changes.

    Raises
    ------
    UserError
        If a key to remove does not exist, or a mapping meets what it cannot merge into.

    Example
    -------
    >>> base = parse("optimizer: !name:torch.optim.AdamW {lr: 0.1, eps: 1.0}", "base.yaml")
    >>> changes = parse("optimizer: {lr: 0.2, eps: !remove}", "a.yaml")
    >>> print(dump(merge_trees(base, changes, "a.yaml")), end="")
    optimizer: !name:torch.optim.AdamW {lr: 0.2}
    """
    merged = tree.copy()
    vars(merged).pop(merge_attrib, None)  # the copy already holds what `<<` brings
    for key, value in changes.items():
        here = f"{above}[{key}]" if above else str(key)
        if tag(value) != "!remove":
            merged[key] = _merge_values(merged.get(key), value, path, here)
        elif key in merged:
            del merged[key]
        else:
            raise UserError(f"{path}: there is no key '{here}' to remove")
    return merged


def _merge_values(old: Any, new: Any, path: str | Path, key: str) -> Any:
    if not isinstance(new, Mapping):
        return new
    if tag(new) is None and tag(old) not in (None, "!PLACEHOLDER") and not isinstance(old, Mapping):
        content = old.value if hasattr(old, "value") else old
        if content != "":  # it is no object without arguments
            raise UserError(
                f"{path}: a plain mapping cannot merge into '{key}', which is {tag(old)} {content}"
            )
        object_tag, old = old.tag, CommentedMap()
        old.yaml_set_ctag(object_tag)
    if tag(new) is None and isinstance(old, Mapping):
        return merge_trees(old, new, path, key)
    merge_trees(CommentedMap(), new, path, key)  # there is nothing to remove from
    return new


def tag(value: Any) -> str | None:
    """The tag of a value, such as ``"!ref"``, or None."""
    return getattr(getattr(value, "tag", None), "value", None)


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All plain values below a node, and the tags of its objects.

    Arguments
    ---------
    node : dict, list or scalar
        From :func:`parse`.
    key : str
        The key of the node.

    Yields
    ------
    str
        The key of a value or of an object.
    int, float, bool, str or None
        The value, with its tag if it has one, or the tag of the object.

    Example
    -------
    >>> list(leaves(parse("a: !new:len {b: [1, !ref <c> + 1]}", "a.yaml")))
    [('a', '!new:len'), ('a[b][0]', 1), ('a[b][1]', '!ref <c> + 1')]
    """
    name = tag(node)
    if isinstance(node, Mapping | list):
        if name is not None and name.startswith("!"):
            yield key, name
        for inner, child in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from leaves(child, f"{key}[{inner}]" if key else str(inner))
    elif name is not None:
        yield key, f"{name} {node.value}".strip()
    elif node is None or isinstance(node, bool):
        yield key, node
    else:
        yield key, next((kind(node) for kind in (int, float) if isinstance(node, kind)), str(node))


def references(node: Any) -> Iterator[tuple[str, str]]:
    """All references below a node.

    Arguments
    ---------
    node : dict, list or scalar
        From :func:`parse`.

    Yields
    ------
    str
        The key that holds the reference.
    str
        The text of the reference.

    Example
    -------
    >>> list(references(parse("a: {b: [1, !ref <c> + 1]}", "a.yaml")))
    [('a[b][1]', '<c> + 1')]
    """
    for key, value in leaves(node):
        if isinstance(value, str) and value.startswith(("!ref ", "!copy ")):
            yield key, value.partition(" ")[2]


def names_in(reference: str) -> list[str]:
    """The top-level keys that a reference names.

    Example
    -------
    >>> names_in("<n_mels> // 4 * <frontend.channels>")
    ['n_mels', 'frontend']
    """
    return re.findall(r"<(\w+)[^<>]*>", reference)
