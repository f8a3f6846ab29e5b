"""Many recordings: which of them this process transcribes, and the files of their transcripts."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from speechbrain_recursive.data.blocks import channels_of
from speechbrain_recursive.data.sources import Source, expand, places
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole
from speechbrain_recursive.inference.recording import Transcript
from speechbrain_recursive.inference.subtitles import srt, vtt

SETTINGS = "transcribe.json"
Format = Callable[[Transcript, str], str]

FORMATS: dict[str, Format] = {
    "txt": lambda found, _: f"{found.text}\n",
    "json": lambda found, _: json.dumps(found.as_dict(), ensure_ascii=False) + "\n",
    "srt": lambda found, separator: srt(found.words, separator),
    "vtt": lambda found, separator: vtt(found.words, separator),
}


def rank() -> tuple[int, int]:
    """The number of this process, and of all processes that ``torchrun`` started.

    Example
    -------
    >>> rank()
    (0, 1)
    """
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def end_together(code: int) -> int:
    """Wait for the other processes of ``torchrun``, which ends all as soon as one of them fails.

    Arguments
    ---------
    code : int
        The exit code of this process.

    Returns
    -------
    int
        The highest of all; `code`, if ``torchrun`` did not start this process.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return code
    import torch
    from torch import distributed

    distributed.init_process_group("gloo", timeout=timedelta(days=365))
    codes = torch.tensor(code)
    distributed.all_reduce(codes, distributed.ReduceOp.MAX)
    distributed.destroy_process_group()
    return codes.item()


def own_device(device: str) -> str:
    """The GPU of this process among those of ``torchrun`` on this machine, if no GPU is named."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device


def find(paths: Sequence[str]) -> tuple[list[Source], list[Source]]:
    """All audio that a user names, and the part of it that this process transcribes.

    Raises
    ------
    UserError
        If :func:`~speechbrain_recursive.data.sources.expand` raises it, or several processes would have
        to share the standard input.
    """
    here, count = rank()
    if count > 1 and "-" in paths:
        raise UserError("processes cannot share the standard input: name files or folders")
    sources = expand(paths)
    return sources, sources[here::count]


class Archive:
    """A folder of transcripts, which an interrupted run continues.

    Files appear whole or not at all. The folder remembers what its transcripts were made with.

    Arguments
    ---------
    folder : str or pathlib.Path
        Created if it does not exist.
    sources : sequence of Source
        All recordings, those of other processes included.
    formats : sequence of str
        Names in ``FORMATS``, which are also suffixes.
    settings : mapping
        What the transcripts depend on.

    Raises
    ------
    UserError
        If two recordings would be written to one file, or the folder holds transcripts that were made
        with other settings.
    """

    def __init__(
        self,
        folder: str | Path,
        sources: Sequence[Source],
        formats: Sequence[str],
        settings: Mapping[str, Any],
    ):
        self.folder, self.formats = Path(folder), formats
        self._names = dict(zip((each.label for each in sources), places(sources), strict=True))
        path, text = self.folder / SETTINGS, json.dumps(settings, indent=1)
        if path.exists():
            if read_text(path) != text:
                raise UserError(
                    f"{path}: its transcripts were made with other settings; give another --out_dir"
                )
        elif rank()[0] == 0:
            write_whole(path, text)

    def left(self, sources: Sequence[Source], channels: str | int) -> list[Source]:
        """The sources of which a transcript is missing, of any channel if each has one."""
        return [source for source in sources if not self._finished(source, channels)]

    def write(self, found: Transcript, separator: str) -> list[Path]:
        """Write a transcript in all formats; returns their paths."""
        return [
            write_whole(self._path(found.label, found.channel, name), FORMATS[name](found, separator))
            for name in self.formats
        ]

    def _finished(self, source, channels):
        try:
            chosen = channels_of(source.audio, "each")[0] if channels == "each" else [None]
        except UserError:
            return False
        paths = [self._path(source.label, channel, name) for channel in chosen for name in self.formats]
        return all(path.exists() for path in paths)

    def _path(self, label, channel, suffix):
        part = "" if channel is None else f".{channel}"
        return self.folder / f"{self._names[label]}{part}.{suffix}"
