"""From the utterances of a corpus to one checked manifest per split.

A corpus names its files and their utterances; what all corpora share is here.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import soundfile
from tqdm.contrib.concurrent import thread_map

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.manifest import COLUMNS, NUMBERS, write_manifest
from speechbrain_recursive.data.pcm import decode, segment
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole

MIN_DURATION, MAX_DURATION = 0.1, 40.0  # of an utterance, in seconds
ESTIMATED = ("MP3",)  # formats whose length may be an estimate, if only a little too long
MAX_LEFT_OUT = 0.01  # of a split
UNREADABLE_DURATION = 0.5  # seconds of silence in place of audio that cannot be read
LOSSLESS = (".flac", ".wav")  # endings of audio; a corpus may have either
STAMP = "prepared.json"
REPORT = "rejected.txt"
Rows = dict[str, list[dict[str, Any]]]  # by split

logger = logging.getLogger(__name__)


def build_manifests(
    save_folder: Path,
    files: Any,
    read: Callable[[], Rows],
    strict: dict[str, bool],
    bad_test_audio: str,
    max_left_out: float = MAX_LEFT_OUT,
) -> dict[str, Path]:
    """Check utterances and write one CSV manifest per split, and ``rejected.txt``.

    A manifest has the columns ID, duration (seconds), wav (absolute path), spk_id, wrd, unreadable (a
    reason, or nothing), and start, stop (seconds) and channel where an utterance is a part of its file,
    sorted by ID. A second call does nothing unless an argument, a file of the corpus or a manifest has
    changed.

    Corrupt audio, audio with NaN or infinite samples, audio that does not last 0.1 to 40 s, empty
    transcripts and audio without a transcript are listed in ``rejected.txt``, one per line with the
    reason. Training splits do without them, unless they are more than 1% of a split. In dev and test
    nothing that has a transcript is left out: with ``bad_test_audio`` at ``"refuse"`` such an utterance
    stops the call; with ``"empty"`` it is kept, and the column ``unreadable`` gives the reason if its
    audio cannot be used, so that evaluation takes an empty hypothesis and its words count as deletions;
    where the transcript is empty, all that is recognized counts as insertions. A split without a single
    word is refused. Audio that has no transcript cannot be scored: it is left out there too, again
    unless it is more than 1% of a split. All audio that utterances refer to is decoded in full, once per
    corpus, since a damaged file would stop the training.

    Arguments
    ---------
    save_folder : Path
        Where manifests, ``rejected.txt`` and the record of the arguments go.
    files : list or dict
        All files of the corpus that the manifests depend on: one or several results of :func:`listing`.
    read : callable
        ``() -> {split: rows}``, where a row is a dict of ID, wav, spk_id and wrd (None where there is
        no transcript), and may have start, stop and channel, and ``where`` it is listed, for messages;
        called only if there is something to do.
    strict : dict of str to bool
        The splits to prepare, and whether each is one of dev and test.
    bad_test_audio : str
        ``"refuse"`` or ``"empty"``.
    max_left_out : float
        Another share of a split than 1%.

    Returns
    -------
    dict
        From the name of each split to the path of its manifest.

    Raises
    ------
    UserError
        If too much of a split is unusable, as above, or nothing in it has words. No manifest is
        written then.
    """
    manifests = {split: save_folder / f"{split}.csv" for split in strict}
    corpus = hashlib.md5(json.dumps(files).encode()).hexdigest()
    record = json.dumps(
        [strict, bad_test_audio, max_left_out, MIN_DURATION, MAX_DURATION, COLUMNS, corpus]
    )
    stamp = save_folder / STAMP
    unchanged = stamp.is_file() and stamp.read_text() == record
    if unchanged and all(path.is_file() for path in manifests.values()):
        return manifests

    rows = read()
    stamp.unlink(missing_ok=True)
    for split in strict:
        _inspect(rows[split], split)
    rejected = [row for split in strict for row in rows[split] if row["reason"]]
    report = save_folder / REPORT
    write_whole(report, "".join(f"{_reason(row)}\n" for row in rejected))
    limits = bad_test_audio, max_left_out
    kept = {s: _select(rows[s], s, strict[s], *limits, report) for s in strict}
    for split, path in manifests.items():
        write_manifest(path, kept[split])
    write_whole(stamp, record)
    return manifests


def listing(folders: Iterable[Path], endings: tuple[str, ...]) -> list[tuple]:
    """List files of a corpus, with size and time so that changes are noticed.

    Arguments
    ---------
    folders : iterable of Path
        Where to look, not below; what is not a folder is skipped.
    endings : tuple of str
        Endings of names; hidden files are skipped.

    Returns
    -------
    list of tuple
        Path (str), size in bytes and modification time in ns, sorted.
    """
    found = []
    for folder in filter(Path.is_dir, folders):
        for entry in os.scandir(folder):
            if entry.name.endswith(endings) and not entry.name.startswith("."):
                status = entry.stat()
                found.append((entry.path, status.st_size, status.st_mtime_ns))
    return sorted(found)


def by_stem(paths: Iterable[Path]) -> dict[Path, Path]:
    """Find audio files whatever their format.

    Arguments
    ---------
    paths : iterable of Path
        Audio files.

    Returns
    -------
    dict
        From each path without its ending to the path.

    Raises
    ------
    UserError
        If two files differ in their endings only.
    """
    found = {}
    for path in paths:
        other = found.setdefault(path.with_suffix(""), path)
        if other != path:
            raise UserError(f"{path}: there is other audio of the same name, {other.name}; remove one")
    return found


def locate(folder: Path, inside: str, what: str, page: str) -> Path:
    """Find the folder of a corpus.

    Arguments
    ---------
    folder : Path
        Where it should be; the folder above may be the corpus itself.
    inside : str
        Name of a folder that the corpus holds.
    what : str
        What that folder holds, for messages.
    page : str
        Where the corpus can be had.

    Returns
    -------
    Path
        The corpus's folder, absolute.

    Raises
    ------
    UserError
        If neither folder holds ``inside``.
    """
    for corpus in (folder, folder.parent):
        if (corpus / inside).is_dir():
            return corpus.resolve()
    raise UserError(
        f"no {what}: looked for {folder / inside} and {folder.parent / inside}; name the corpus with "
        f"--data_folder, or get it with --download True or from {page}"
    )


def transcripts(paths: Iterable[Path]) -> dict[str, tuple[str, Path, str]]:
    """Read files with one ``<utterance> <words>`` per line.

    Arguments
    ---------
    paths : iterable of Path
        UTF-8 text; blank lines at the end are skipped.

    Returns
    -------
    dict
        From the name of each utterance to its words, its file, and file and line for messages.

    Raises
    ------
    UserError
        If a file is not UTF-8, a line is blank, or an utterance has two lines.
    """
    found = {}
    for path in paths:
        for number, line in enumerate(read_text(path).rstrip().splitlines(), start=1):
            name, _, words = line.strip().partition(" ")
            where = f"{path}, line {number}"
            if not name:
                raise UserError(f"{where}: expected '<utterance> <words>', found nothing")
            if name in found:
                raise UserError(f"{where}: {name} has two transcripts; remove one")
            found[name] = words.strip(), path, where
    return found


def _inspect(rows, split):
    """Add to each row its duration, what is wrong with its audio, and why it is rejected."""

    def inspect(row):
        row["duration"], row["unreadable"] = 0.0, ""
        if row["wrd"] is None:
            row["reason"] = "no transcript"
        else:
            row["duration"], row["unreadable"] = _audio(row)
            row["reason"] = row["unreadable"] or ("" if row["wrd"].strip() else "empty transcript")

    thread_map(inspect, rows, max_workers=8, tqdm_class=Bar, desc=f"Checking {split}", delay=1)


def _audio(row):
    """Duration in seconds, and why the audio cannot be used (or nothing)."""
    try:
        with soundfile.SoundFile(row["wav"]) as audio:
            frames = segment(audio, *map(row.get, NUMBERS))
            duration = frames / audio.samplerate
            if not MIN_DURATION <= duration <= MAX_DURATION:
                limits = f"{MIN_DURATION:g} to {MAX_DURATION:g} s"
                return duration, f"lasts {duration:.2f} s, which is not within {limits}"
            samples = decode(audio, frames, row.get("channel"), dtype="int16")
            decoded = len(samples) / audio.samplerate
            lost = duration - decoded
            cut_short = lost >= MIN_DURATION if audio.format in ESTIMATED else lost > 0
            return decoded, "cut short" if cut_short else ""
    except UserError as error:
        return 0.0, str(error)
    except soundfile.SoundFileError as error:
        problem = getattr(error, "error_string", "") or "corrupt or cut short"
        return 0.0, f"cannot be decoded ({problem.removeprefix('Error : ').rstrip('.')})"


def _select(rows, split, strict, bad_test_audio, max_left_out, report):
    """The rows that a manifest keeps."""
    everything = rows
    spare = [row for row in rows if row["reason"] and (row["wrd"] is None or not strict)]
    if len(spare) > max_left_out * len(rows):
        remark = f", more than {max_left_out:.0%}" if max_left_out else ""
        raise UserError(_count(spare, rows, split, report, remark))
    if spare:
        logger.warning("left out: %s", _count(spare, rows, split, report))
        left_out = {row["ID"] for row in spare}
        rows = [row for row in rows if row["ID"] not in left_out]
    if not any(row["wrd"].strip() for row in rows):
        raise UserError(f"all transcripts of {split} are empty, so it has no error rate: correct them")
    bad = [row for row in rows if row["reason"]]
    if bad and bad_test_audio == "refuse":
        raise UserError(
            f"{_count(bad, everything, split, report)}; repair them, or count their words as "
            "deletions with --bad_test_audio empty"
        )
    for row in bad:
        if row["unreadable"]:
            row["duration"] = UNREADABLE_DURATION
    return rows


def _count(rejected, rows, split, report, remark=""):
    return (
        f"{len(rejected)} of {len(rows)} utterances of {split} are unusable{remark}; the first is "
        f"{_reason(rejected[0])}; all are listed in {report}"
    )


def _reason(row):
    """Why a row is rejected. A row that is a part of its file is named by its ID as well."""
    if "where" in row:
        return f"{row['where']}: {row['wav']}: {row['reason']}"
    part = any(row.get(key) is not None for key in NUMBERS)
    return f"{row['wav']}{' (' + row['ID'] + ')' if part else ''}: {row['reason']}"
