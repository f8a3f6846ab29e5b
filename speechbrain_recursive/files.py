"""Files that appear whole or not at all."""

import os
from pathlib import Path


def write_whole(path, content):
    """Write a file beside its place and move it there, so that no reader ever sees a part of it.

    Arguments
    ---------
    path : str or pathlib.Path
        The file; its folder is made where it is missing.
    content : str or bytes
        Text is written as UTF-8.

    Returns
    -------
    pathlib.Path
        ``path``.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(f"{folder}/notes/a.txt", "a").read_text()
    'a'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    os.replace(partial, path)
    return path
