"""Downloads of corpora and n-grams: they can be resumed, and are checked."""

import gzip
import hashlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.errors import UserError

BLOCK = 1 << 20  # bytes


def install(url: str, md5: str | None, data_folder: Path, wanted: str) -> None:
    """Download an archive and move one of its folders into place, unless that is there.

    The archive stays in ``data_folder``; the folder appears whole or not at all.

    Arguments
    ---------
    url : str
        The archive.
    md5 : str or None
        Its MD5 sum in hexadecimal. Without one it must be a gzip, whose CRC is checked.
    data_folder : Path
        Where the archive and the folder go.
    wanted : str
        Path of the folder, both in the archive and below ``data_folder``.

    Raises
    ------
    UserError
        If the download fails, or the archive is damaged or does not hold the folder.
    """
    folder = data_folder / wanted
    if folder.is_dir():
        return
    archive = fetch(url, data_folder / url.rpartition("/")[2], md5)
    partial = data_folder / f"{folder.name}.unpacking"
    unpack(archive, partial)
    if not (partial / wanted).is_dir():
        raise UserError(f"{archive} does not hold {wanted}")
    folder.parent.mkdir(exist_ok=True)
    (partial / wanted).rename(folder)
    shutil.rmtree(partial)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive.

    Arguments
    ---------
    archive : Path
        The archive, compressed or not.
    folder : Path
        Where its content goes. What the folder contained is lost.

    Raises
    ------
    UserError
        If the archive is damaged, or the folder cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}): get it again") from None
    except OSError as error:  # a damaged gzip, but also a full disk or a read-only folder
        raise UserError(f"{archive} cannot be unpacked into {folder} ({error})") from None


def fetch(url: str, path: str | Path, md5: str | None = None) -> Path:
    """Download one file, resuming an earlier download that stopped.

    Arguments
    ---------
    url : str
        What to download.
    path : str or Path
        Where to put it. Until it is complete and checked, it is called ``<path>.part``. A file that
        is already there is checked and not downloaded.
    md5 : str, optional
        Its MD5 sum in hexadecimal. Without one the file must be a gzip, whose CRC is checked.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    UserError
        If the download fails (the same call resumes it) or the sum is wrong (the file is removed).
    """
    path = Path(path)
    if path.is_file():
        _check(path, md5, url)
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _transfer(url, part)
    except OSError as error:  # URLError, a reset or a timeout; a full disk as well
        raise UserError(f"download of {url} to {part} stopped ({error}); run again to go on") from None
    _check(part, md5, url)
    part.rename(path)
    return path


def _transfer(url, part):
    """Append to ``part`` what is missing."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send
            return
        raise
    with response:
        if response.status != 206:  # the server sends the file from its beginning
            have = 0
        length = response.headers["Content-Length"]  # which a server may leave out
        total = have + int(length) if length else None
        progress = Bar.wrapattr(response, "read", total, initial=have, desc=part.stem)
        with open(part, "ab" if have else "wb") as file, progress as content:
            shutil.copyfileobj(content, file, BLOCK)
    if total and part.stat().st_size < total:
        raise OSError("the connection was closed early")


def _check(path, md5, url):
    """Remove a file that has another MD5 sum or, where none is given, is no gzip or an empty one."""
    digest = hashlib.md5()
    try:
        with open(path, "rb") if md5 else gzip.open(path) as file:
            while block := file.read(BLOCK):
                digest.update(block)
            wrong = None if md5 or file.tell() else "is empty"
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        wrong = f"is damaged ({error})"
    if md5 and digest.hexdigest() != md5:
        wrong = f"has MD5 sum {digest.hexdigest()}, not {md5}"
    if wrong:
        path.unlink()
        raise UserError(f"{path} from {url} {wrong}; it has been removed, run again to fetch it anew")
