"""The fingerprint of a finished run: what its results rest on, as checksums."""

from collections.abc import Iterable
from pathlib import Path

from speechbrain_recursive.data.manifest import summarize
from speechbrain_recursive.files import sha256

FILES = ("hyperparams.yaml", "recipe.yaml", "model.ckpt", "tokenizer.json")


def fingerprint(folder: str | Path, splits: Iterable[str]) -> dict[str, str]:
    """SHA-256 sums of weights, settings, tokens, n-grams and corpus.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.
    splits : iterable of str
        The splits of its corpus.

    Returns
    -------
    dict of str to str
        By the name of a file, or ``manifests/SPLIT`` for IDs, durations and transcripts of a split,
        wherever the audio is; see :func:`~speechbrain_recursive.data.manifest.summarize`. Files that do
        not exist have no sum.

    Raises
    ------
    UserError
        If a manifest is missing or malformed.
    """
    folder = Path(folder)
    files = [*(folder / name for name in FILES), *sorted(folder.glob("*.arpa"))]
    sums = {path.name: sha256(path) for path in files if path.is_file()}
    manifests = folder / "manifests"
    return sums | {
        f"manifests/{split}": summarize(manifests / f"{split}.csv")["sha256"] for split in splits
    }
