"""Files and models of Hugging Face, by name or folder, with errors of one line.

The token comes from ``hf auth login`` or the environment variable ``HF_TOKEN``. ``huggingface_hub``
reads it, and nothing here holds it.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, errors, hf_hub_download, snapshot_download

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import read_text

logger = logging.getLogger(__name__)

SOURCE = re.compile(r"([\w.-]+/[\w.-]+)(?:@(\S+))?")  # USER/NAME, with a revision or without
COMMIT = re.compile(r"[0-9a-f]{40}")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def of_hub(source: str | Path) -> tuple[str, str | None] | None:
    """Name and revision of a model on the Hub; None for a folder, and for what can be no other.

    Example
    -------
    >>> of_hub("me/my-model@v2"), of_hub("results/mini/1234")
    (('me/my-model', 'v2'), None)
    """
    found = SOURCE.fullmatch(str(source))
    return None if found is None or Path(source).exists() else found.groups()


def fetch(source: str | Path, revision: str | None = None, savedir: str | Path | None = None) -> Path:
    """The folder of a model, fetched from the Hub unless it is here.

    A revision is a commit. A branch or a tag is resolved first, and the log says to what. What was
    fetched of a commit is kept, so that the Hub need not be reached for it again.

    Arguments
    ---------
    source : str or pathlib.Path
        A folder, or USER/NAME of a model on the Hub, or USER/NAME@REVISION.
    revision : str, optional
        Commit, tag or branch on the Hub; by default the branch ``main``.
    savedir : str or pathlib.Path, optional
        Where to put the files; by default a folder in the cache of ``huggingface_hub``.

    Returns
    -------
    pathlib.Path
        Its files are files, and not links into a cache.

    Raises
    ------
    UserError
        If there is neither such a folder nor such a model, a revision of a folder is asked for, or two
        revisions are.

    Example
    -------
    >>> fetch(".")
    PosixPath('.')
    """
    if (found := of_hub(source)) is None:
        if revision is not None:
            raise UserError(f"--revision {revision}: {source} is no model on the Hub")
        return Path(source)
    name, named = found
    if None not in (revision, named):
        raise UserError(f"--revision {revision}: {source} names a revision already")
    commit = _commit(name, revision or named)
    with plain_errors(name, commit):
        if savedir is None:
            cache = Path(constants.HF_HUB_CACHE).parent / "speechbrain_recursive"
            savedir = cache / name.replace("/", "--") / commit
        return Path(snapshot_download(name, revision=commit, local_dir=savedir))


def pin(source: str) -> str:
    """USER/NAME@COMMIT for a model on the Hub, at the commit that it is at now; others stay as they are.

    Arguments
    ---------
    source : str
        As for :func:`fetch`.

    Raises
    ------
    UserError
        If there is no such model or revision.

    Example
    -------
    >>> pin("results/mini/1234")
    'results/mini/1234'
    """
    found = of_hub(source)
    return source if found is None else f"{found[0]}@{_commit(*found)}"


def folder_of(model: str | Path) -> Path:
    """The folder of a model that is named by itself, by the weights in it, or as :func:`fetch` does.

    Example
    -------
    >>> folder_of("results/mini/1234/model.ckpt")
    PosixPath('results/mini/1234')
    """
    path = Path(model)
    return path.parent if path.suffix in (".ckpt", ".safetensors") else fetch(model)


def _commit(name, revision):
    if COMMIT.fullmatch(revision or ""):
        return revision
    with plain_errors(name, revision, f"there is no folder {name}, and "):
        commit = HfApi().model_info(name, revision=revision).sha
    logger.warning("%s is at revision %s", name, commit)
    return commit


@contextmanager
def plain_errors(name: str, revision: str | None = None, before: str = "") -> Iterator[None]:
    """Turn what ``huggingface_hub`` raises about a model into a UserError.

    Arguments
    ---------
    name : str
        USER/NAME.
    revision : str, optional
        What was asked for.
    before : str
        What to say before that the Hub was not reached.
    """
    try:
        yield
    except UserError:
        raise
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{name} has no revision {revision}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is no folder {name}, and no such model on the Hub that you may read: {LOG_IN}"
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise UserError(f"{name}: {LOG_IN}") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise UserError(
                f"{name}: the Hub refuses ({status}); {LOG_IN}, as one who may write there"
            ) from error
        raise UserError(f"{name}: {one_line(error, 200)}") from error
    except ValueError as error:
        raise UserError(f"{name}: {one_line(error, 200)}") from error
    except Exception as error:  # of the HTTP client, which depends on the version of huggingface_hub
        cause = one_line(error.__cause__ or error, 200) or type(error).__name__
        raise UserError(
            f"{before or f'{name}: '}{constants.ENDPOINT} was not reached, or the connection broke "
            f"({cause}); run the command again, and it goes on with what is missing"
        ) from error


def import_transformers() -> Any:
    """The package ``transformers``.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError("models of Hugging Face need transformers: pip install transformers") from error
    return transformers


def read_vocabulary(source: str | Path, key: str) -> list[str]:
    """Read the WordPiece vocabulary of a BERT.

    Arguments
    ---------
    source : str or pathlib.Path
        The name of a model of Hugging Face, such as ``bert-base-uncased``, a model's folder, or a
        ``vocab.txt``.
    key : str
        The key of the YAML that an error names.

    Returns
    -------
    list of str
        From id to piece.

    Raises
    ------
    UserError
        If there is no such file, or it is none of a BERT.
    """
    path = Path(source)
    if path.is_dir():
        path /= "vocab.txt"
    elif not path.is_file():
        try:
            path = Path(hf_hub_download(str(source), "vocab.txt"))
        except Exception as error:  # whatever networks, hubs and names raise
            raise UserError(
                f"{key}: {source} is no folder, and its vocab.txt cannot be fetched: "
                f"{one_line(error, 200)}; where there is no network, give the folder of a copy"
            ) from error
    pieces = read_text(path, f"{key}: {source} is not BERT-like: it has no vocab.txt").splitlines()
    if missing := {"[UNK]", "[CLS]", "[SEP]"} - {*pieces}:
        raise UserError(f"{key}: {path} is not BERT's: it lacks {', '.join(sorted(missing))}")
    return pieces


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """A context in which ``transformers`` prints neither progress nor what a model lacks."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
