"""Reading files that the user names, atomic writing, checksums."""

import hashlib
import os
from pathlib import Path

from speechbrain_recursive.errors import UserError


def check_file(path: str | Path, missing: str | None = None) -> Path:
    """Check that a path is that of a file.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    missing : str, optional
        What to say if there is nothing at the path; by default that it does not exist.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    UserError
        If the path is that of a folder, or of nothing.

    Example
    -------
    >>> check_file(".")
    Traceback (most recent call last):
    speechbrain_recursive.errors.UserError: . is a folder, not a file
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a file")
    if not path.exists():
        raise UserError(missing or f"{path} does not exist")
    return path


def read_text(path: str | Path, missing: str | None = None) -> str:
    """Read a text file.

    Arguments and errors are those of :func:`check_file`; a file that is not UTF-8 is an error as well.

    Returns
    -------
    str
    """
    try:
        return check_file(path, missing).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from None


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
    with open(partial, "wb", opener=_no_link) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
    os.replace(partial, path)
    return path


def _no_link(path, flags):
    """Open a file, unless it is a link, which would lead the writing elsewhere."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def sha256(path: str | Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal digits.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sha256(write_whole(f"{folder}/a.txt", "a"))[:8]
    'ca978112'
    """
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
