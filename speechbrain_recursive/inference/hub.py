"""Uploading the folder of a model to the Hugging Face Hub; :mod:`speechbrain_recursive.hub` fetches."""

from pathlib import Path

from huggingface_hub import HfApi, errors
from huggingface_hub.utils import validate_repo_id

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hub import plain_errors


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
        valid = name.count("/") == 1
    except errors.HFValidationError:
        valid = False
    if not valid:
        raise UserError(f"{name} is no USER/NAME of a model on the Hub, such as me/my-model")
