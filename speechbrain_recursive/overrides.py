"""Overrides: what a command line or a caller changes of a YAML file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.merging import parse

Overrides = str | Sequence[str] | Mapping[str, Any] | None


def parse_overrides(overrides: Overrides) -> Mapping[str, Any]:
    """Parse overrides by top-level key.

    Arguments
    ---------
    overrides : str, list of str or dict, optional
        YAML text, as SpeechBrain makes it of a command line; or the words of a command line, which are
        pairs of ``--key value`` or ``--key=value``, with values in YAML; or values by key. If a key is
        repeated, the last value counts.

    Returns
    -------
    dict
        Values by key, with the tags of HyperPyYAML.

    Raises
    ------
    UserError
        If the words are not such pairs, or the text is not valid YAML.

    Example
    -------
    >>> dict(parse_overrides(["--loops=8", "--seed", "1", "--seed", "2"]))
    {'loops': 8, 'seed': 2}
    """
    if overrides is None or isinstance(overrides, Mapping):
        return overrides or {}
    text = overrides if isinstance(overrides, str) else as_text(overrides)
    return parse(text, "overrides", repeats=True)


def as_text(words: Sequence[str]) -> str:
    """Write the words of a command line as YAML text.

    A value that begins with a quote and is not valid YAML, such as an alphabet with an apostrophe, is
    taken as it is.

    Arguments
    ---------
    words : list of str
        Pairs of ``--key value`` or ``--key=value``, with values in YAML.

    Returns
    -------
    str
        A line for each pair.

    Raises
    ------
    UserError
        If the words are not such pairs.

    Example
    -------
    >>> print(as_text(["--loops", "8", "--characters='ABC"]))
    loops: 8
    characters: "'ABC"
    """
    lines, rest = [], iter(words)
    for word in rest:
        key, equals, value = word.partition("=")
        value = value if equals else next(rest, "--")
        if not key.startswith("--") or value.startswith("--"):
            raise UserError(f"overrides are pairs of --key value, not: {' '.join(words)}")
        lines.append(f"{key[2:]}: {_quoted(value)}")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    if value.startswith(("'", '"')):
        try:
            YAML().compose(value)
        except YAMLError:
            return json.dumps(value, ensure_ascii=False)
    return value
