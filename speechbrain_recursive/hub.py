"""Files and models of Hugging Face, by name or folder, with errors of one line."""

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import read_text


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
