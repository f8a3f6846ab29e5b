"""The Hugging Face Hub: fetching the folder of a model, and uploading one.

The token comes from ``hf auth login`` or the environment variable ``HF_TOKEN``. ``huggingface_hub``
reads it, and nothing here holds it.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, snapshot_download
from huggingface_hub.utils import validate_repo_id

from speechbrain_recursive.errors import UserError, one_line

logger = logging.getLogger(__name__)

NAME = re.compile(r"[\w.-]+/[\w.-]+")  # USER/NAME
COMMIT = re.compile(r"[0-9a-f]{40}")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def fetch(source: str | Path, revision: str | None = None, savedir: str | Path | None = None) -> Path:
    """The folder of a model, fetched from the Hub unless it is here.

    A revision is a commit. A branch or a tag is resolved first, and the log says to what. What was
    fetched of a commit is kept, so that the Hub need not be reached for it again.

    Arguments
    ---------
    source : str or pathlib.Path
        A folder, or USER/NAME of a model on the Hub.
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
        If there is neither such a folder nor such a model, or a revision of a folder is asked for.

    Example
    -------
    >>> fetch(".")
    PosixPath('.')
    """
    folder, name = Path(source), str(source)
    if folder.exists() or not NAME.fullmatch(name):
        if revision is not None:
            raise UserError(f"--revision {revision}: {folder} is no model on the Hub")
        return folder
    with plain_errors(name, revision):
        commit = revision
        if not COMMIT.fullmatch(revision or ""):
            commit = HfApi().model_info(name, revision=revision).sha
            logger.warning("%s is at revision %s", name, commit)
        if savedir is None:
            cache = Path(constants.HF_HUB_CACHE).parent / "speechbrain_recursive"
            savedir = cache / name.replace("/", "--") / commit
        return Path(snapshot_download(name, revision=commit, local_dir=savedir))


def upload(folder: str | Path, name: str, private: bool = False) -> str:
    """Make a model on the Hub hold the files of a folder and no others, in one commit.

    Large files go first and the commit comes last, so that nobody sees half a model. After an
    interruption, large files that arrived are not sent again.

    Arguments
    ---------
    folder : str or pathlib.Path
        What to upload.
    name : str
        USER/NAME. It is created if it does not exist.
    private : bool
        Whether to create it as a private model.

    Returns
    -------
    str
        The commit.

    Raises
    ------
    UserError
        If nobody is logged in or may write there, the model exists and is public where a private one is
        asked for, or the upload fails.
    """
    api = HfApi()
    with plain_errors(name):
        api.create_repo(name, private=True if private else None, exist_ok=True)
        if private and not api.model_info(name).private:
            raise UserError(f"{name} is public: make it private on the Hub, or leave out --private")
        message = "A model of speechbrain_recursive"
        options = {"commit_message": message, "ignore_patterns": ".cache/**", "delete_patterns": "*"}
        return api.upload_folder(repo_id=name, folder_path=folder, **options).oid


def check_name(name: str) -> None:
    """Refuse what is no name of a model on the Hub.

    Raises
    ------
    UserError
        If the name is not USER/NAME, or has characters that the Hub does not take.

    Example
    -------
    >>> check_name("my-model")
    Traceback (most recent call last):
    speechbrain_recursive.errors.UserError: my-model is no USER/NAME of a model on the Hub, such as ...
    """
    try:
        validate_repo_id(name)
        valid = NAME.fullmatch(name)
    except errors.HFValidationError:
        valid = False
    if not valid:
        raise UserError(f"{name} is no USER/NAME of a model on the Hub, such as me/my-model")


@contextmanager
def plain_errors(name: str, revision: str | None = None) -> Iterator[None]:
    """Turn what ``huggingface_hub`` raises about a model into a UserError."""
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
            f"{name}: {constants.ENDPOINT} was not reached, or the connection broke ({cause}); run the "
            "command again, and it goes on with what is missing"
        ) from error
