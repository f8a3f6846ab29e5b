"""The manifest of a checkpoint's folder: sizes and checksums of its files."""

import json
import os
from collections.abc import Mapping

import numpy as np
import torch
import yaml
from speechbrain.utils.checkpoints import METAFNAME

from speechbrain_recursive.files import sha256

MANIFEST = "manifest.json"


def write_manifest(folder):
    """Flush all files of a folder to disk and record the size and SHA-256 of each.

    Arguments
    ---------
    folder : pathlib.Path
        A checkpoint that was just written.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        flush(path)
    entries = {path.relative_to(folder).as_posix(): _fingerprint(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(entries, indent=1), encoding="utf-8")
    flush(folder / MANIFEST)
    flush(folder)


def flush(path):
    """Flush a file, or a folder's entries, to disk.

    Arguments
    ---------
    path : pathlib.Path
        The file or folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find_fault(folder, checksums=False):
    """Find what is wrong with a checkpoint on disk.

    Arguments
    ---------
    folder : pathlib.Path
        The checkpoint.
    checksums : bool
        Whether to read every file; otherwise only presence and sizes are checked.

    Returns
    -------
    str or None
        One line that names the file, or None for an intact checkpoint.
    """
    try:
        meta = yaml.safe_load((folder / METAFNAME).read_text(encoding="utf-8"))
        if not isinstance(meta, dict) or not {"unixtime", "end-of-epoch"} <= set(meta):
            return f"{METAFNAME} is cut short"
        files = {}
        if "manifest" in meta:
            files = json.loads((folder / meta["manifest"]).read_text(encoding="utf-8"))
        for name, entry in files.items():
            size = (folder / name).stat().st_size
            if size != entry["bytes"]:
                return f"{name} has {size} bytes instead of {entry['bytes']}"
            if checksums and _fingerprint(folder / name) != entry:
                return f"{name} differs from what was saved"
    except FileNotFoundError as error:
        return f"{os.path.basename(error.filename)} is missing"
    except (yaml.YAMLError, ValueError) as error:
        return f"its description is unreadable ({str(error).splitlines()[0]})"
    return None


def plain(value, name="meta"):
    """Turn NumPy values and tensors into plain Python, and refuse what YAML cannot reload.

    Arguments
    ---------
    value : object
        A number, text or None, or a list or mapping of these.
    name : str
        What the error message calls the value.

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If a value is of another type.

    Example
    -------
    >>> plain({"wer": np.float32(0.5), "by_loops": {2: torch.tensor([3.0, 4.0])}})
    {'wer': 0.5, 'by_loops': {2: [3.0, 4.0]}}
    """
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {plain(key): plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, name) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{name} holds a {type(value).__name__}: only numbers and text can be saved")


def _fingerprint(path):
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}
