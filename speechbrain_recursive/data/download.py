"""Corpora and n-grams from OpenSLR: fetched with resume and checked. Only when somebody asks."""

import gzip
import hashlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from tqdm import tqdm

from speechbrain_recursive.errors import UserError

LIBRISPEECH_URL = "https://www.openslr.org/resources/12"
LIBRISPEECH_MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
AISHELL_URL = "https://www.openslr.org/resources/33"
AISHELL_MD5 = "2f494334227864a8a8fec932999db9d8"
NGRAM_URL = "https://www.openslr.org/resources/11"
NGRAMS = (  # of LibriSpeech's text for language models: 200,000 words in capitals
    "4-gram.arpa.gz",
    "3-gram.arpa.gz",
    "3-gram.pruned.1e-7.arpa.gz",
    "3-gram.pruned.3e-7.arpa.gz",
)
BLOCK = 1 << 20  # bytes


def download_librispeech(data_folder, splits, url=LIBRISPEECH_URL, md5=LIBRISPEECH_MD5):
    """Fetch and unpack the splits that are not there yet.

    Archives stay in ``data_folder``; a split appears in ``data_folder/LibriSpeech`` whole or not
    at all.

    Arguments
    ---------
    data_folder : str or Path
        Where ``LibriSpeech`` is to stand.
    splits : sequence of str
        Such as ``["train-clean-100", "dev-clean"]``.
    url : str
        The folder that holds ``<split>.tar.gz``.
    md5 : dict
        From each known split to the MD5 sum of its archive.

    Returns
    -------
    Path
        ``data_folder``.

    Raises
    ------
    UserError
        If a split is unknown, the transfer fails, or an archive is not what it should be.

    Example
    -------
    >>> download_librispeech(".", ["train-clean-99"])
    Traceback (most recent call last):
    speechbrain_recursive.errors.UserError: LibriSpeech has no split 'train-clean-99', only ...
    """
    data_folder = Path(data_folder)
    for split in splits:
        if split not in md5:
            raise UserError(f"LibriSpeech has no split {split!r}, only {', '.join(md5)}")
    for split in splits:
        if not (data_folder / split).is_dir():  # as it is where data_folder is LibriSpeech itself
            _install(f"{url}/{split}.tar.gz", md5[split], data_folder, f"LibriSpeech/{split}")
    return data_folder


def download_aishell(data_folder, url=AISHELL_URL, md5=AISHELL_MD5):
    """Fetch and unpack AISHELL-1 (15 GB), unless it is there.

    The archive stays in ``data_folder``; ``data_aishell`` appears whole or not at all. The tarballs in
    it are left to :func:`speechbrain_recursive.data.aishell.prepare_aishell`.

    Arguments
    ---------
    data_folder : str or Path
        Where ``data_aishell`` is to stand.
    url : str
        The folder that holds ``data_aishell.tgz``.
    md5 : str
        Its MD5 sum.

    Returns
    -------
    Path
        ``data_folder``.

    Raises
    ------
    UserError
        If the transfer fails, or the archive is not what it should be.
    """
    _install(f"{url}/data_aishell.tgz", md5, Path(data_folder), "data_aishell")
    return Path(data_folder)


def download_ngram(path, url=NGRAM_URL):
    """Fetch one of the n-grams that OpenSLR offers for LibriSpeech.

    What is checked is the CRC that a gzip carries, which tells a damaged file from a whole one.

    Arguments
    ---------
    path : str or Path
        Where to put it, under its own name, such as ``models/4-gram.arpa.gz``.
    url : str
        The folder that holds the n-grams.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    UserError
        If there is no n-gram of that name, the transfer fails, or the file is damaged.

    Example
    -------
    >>> download_ngram("models/5-gram.arpa.gz")
    Traceback (most recent call last):
    speechbrain_recursive.errors.UserError: models/5-gram.arpa.gz cannot be downloaded: only ...
    """
    path = Path(path)
    if path.name not in NGRAMS:
        raise UserError(f"{path} cannot be downloaded: only files named {', '.join(NGRAMS)} can be")
    return fetch(f"{url}/{path.name}", path)


def _install(url, md5, data_folder, wanted):
    """Fetch an archive and move the folder ``wanted`` out of it, unless that is there."""
    folder = data_folder / wanted
    if folder.is_dir():
        return
    archive = fetch(url, data_folder / url.rpartition("/")[2], md5)
    partial = data_folder / f"{folder.name}.unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tarfile.open(archive) as members:
            members.extractall(partial, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{archive} cannot be unpacked into {partial}: {error}") from None
    if not (partial / wanted).is_dir():
        raise UserError(f"{archive} does not hold {wanted}")
    folder.parent.mkdir(exist_ok=True)
    (partial / wanted).rename(folder)
    shutil.rmtree(partial)


def fetch(url, path, md5=None):
    """Download one file, going on where an earlier call stopped.

    Arguments
    ---------
    url : str
        What to fetch.
    path : str or Path
        Where to put it. Until it is complete and checked, it is called ``<path>.part``. A file
        that is already there is checked, not fetched.
    md5 : str, optional
        Its MD5 sum in hexadecimal. Without one it must be a gzip, which carries a CRC of its own.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    UserError
        If the transfer fails (the same call goes on with it) or the sum is wrong (the file is
        removed).
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
    """Append to ``part`` what it lacks."""
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
        progress = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem)
        with open(part, "ab" if have else "wb") as file, progress as bar:
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total and part.stat().st_size < total:
        raise OSError("the connection was closed early")


def _check(path, md5, url):
    wrong = _gzip_damage(path) if md5 is None else _other_sum(path, md5)
    if wrong:
        path.unlink()
        raise UserError(f"{path} from {url} {wrong}; it has been removed, run again to fetch it anew")


def _other_sum(path, md5):
    digest = hashlib.md5()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest() != md5 and f"has MD5 sum {digest.hexdigest()}, not {md5}"


def _gzip_damage(path):
    """What is wrong with a gzip, or None. One that holds nothing is wrong too."""
    try:
        with gzip.open(path) as file:
            if not file.read(1):
                return "is empty"
            while file.read(BLOCK):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        return f"is damaged ({error})"
    return None
