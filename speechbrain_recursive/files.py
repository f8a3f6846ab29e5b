"""Atomic writing of files."""

import os
from pathlib import Path


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write a file atomically, so that no reader sees a part of it.

    The content is written to a temporary file in the same folder, which then replaces `path`.

    Arguments
    ---------
    path : str or pathlib.Path
        The file. Its folder is created if it does not exist.
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
