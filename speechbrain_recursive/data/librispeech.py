"""LibriSpeech, and whatever has its layout: from a corpus folder to one manifest per split.

Everything is checked before anything is written. The layout is
``LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac``, with the
transcripts of a chapter in ``<speaker>-<chapter>.trans.txt`` beside its audio.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile
from tqdm import tqdm

from speechbrain_recursive.data.manifest import COLUMNS, write_manifest
from speechbrain_recursive.errors import UserError

MAX_REJECTED = 0.01  # of a training split
UNREADABLE_DURATION = 0.5  # seconds of silence that stand for audio that cannot be read
STAMP = "librispeech.json"
REPORT = "rejected.txt"


def prepare_librispeech(
    data_folder,
    save_folder,
    train_splits=("train-clean-100",),
    dev_splits=("dev-clean",),
    test_splits=("test-clean",),
    min_duration=0.1,
    max_duration=40.0,
    bad_test_audio="refuse",
    workers=8,
):
    """Check a corpus and write one CSV manifest per split.

    A manifest has the columns ID, duration (seconds), wav (absolute path), spk_id, wrd and
    unreadable (a reason, or nothing), sorted by ID. A second call does nothing unless an option,
    a file of the corpus or a manifest has changed.

    Files that are corrupt, too short or too long, and empty transcripts, are listed in
    ``rejected.txt``, one per line with the reason. Training goes without them, unless they are
    more than 1% of a split. In dev and test nothing is left out. All audio has its header and its
    last sample read, which finds a file that was cut short; dev and test audio is decoded in full.

    Arguments
    ---------
    data_folder : str or Path
        The folder that holds ``LibriSpeech``, or that folder itself.
    save_folder : str or Path
        Where manifests, ``rejected.txt`` and the record of the options go.
    train_splits, dev_splits, test_splits : sequence of str
        Names of folders in ``LibriSpeech``.
    min_duration, max_duration : float
        Limits of what counts as an utterance, in seconds.
    bad_test_audio : str
        ``"refuse"`` stops at a bad utterance in dev or test. ``"empty"`` keeps it: where its audio
        cannot be used, the column ``unreadable`` says so, and evaluation gives it an empty
        hypothesis, so that its words count as deletions.
    workers : int
        Threads that read audio.

    Returns
    -------
    dict
        From the name of each split to the path of its manifest.

    Raises
    ------
    UserError
        If the corpus or a split is not there; if a transcript line is malformed or has no audio;
        if audio has no transcript; if more than 1% of a training split, or anything in dev or test
        (see ``bad_test_audio``), is unusable.

    Example
    -------
    >>> import tempfile
    >>> from speechbrain_recursive.data.synthetic import make_librispeech
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = make_librispeech(folder, n_train=2, n_dev=1, n_test=1)
    ...     manifests = prepare_librispeech(corpus, folder)
    ...     sorted(path.name for path in manifests.values())
    ['dev-clean.csv', 'test-clean.csv', 'train-clean-100.csv']
    """
    if bad_test_audio not in ("refuse", "empty"):
        raise UserError(f"bad_test_audio must be 'refuse' or 'empty', not {bad_test_audio!r}")
    save_folder = Path(save_folder)
    splits = list(dict.fromkeys([*train_splits, *dev_splits, *test_splits]))
    evaluated = {*dev_splits, *test_splits}
    listings = {split: _listing(_split_folder(data_folder, split)) for split in splits}
    manifests = {split: save_folder / f"{split}.csv" for split in splits}
    record = {
        "data_folder": str(Path(data_folder).resolve()),
        "train_splits": list(train_splits),
        "dev_splits": list(dev_splits),
        "test_splits": list(test_splits),
        "min_duration": min_duration,
        "max_duration": max_duration,
        "bad_test_audio": bad_test_audio,
        "columns": COLUMNS,
        "corpus": {split: _digest(listing) for split, listing in listings.items()},
    }
    record = json.dumps(record, indent=1)
    stamp = save_folder / STAMP
    unchanged = stamp.is_file() and stamp.read_text() == record
    if unchanged and all(path.is_file() for path in manifests.values()):
        return manifests

    stamp.unlink(missing_ok=True)
    rows = {split: _utterances(listing) for split, listing in listings.items()}
    for split in splits:
        _inspect(rows[split], min_duration, max_duration, split in evaluated, workers, split)
    rejected = [row for split in splits for row in rows[split] if row["reason"]]
    save_folder.mkdir(parents=True, exist_ok=True)
    _write(save_folder / REPORT, "".join(f"{row['wav']}: {row['reason']}\n" for row in rejected))
    for split in splits:
        rows[split] = _select(rows[split], split, split in evaluated, bad_test_audio, save_folder)
    for split in splits:
        write_manifest(manifests[split], rows[split])
    _write(stamp, record)
    return manifests


def _split_folder(data_folder, split):
    """The folder of a split, as an absolute path."""
    data_folder = Path(data_folder)
    for root in (data_folder / "LibriSpeech", data_folder):
        if (root / split).is_dir():
            return (root / split).resolve()
    raise UserError(
        f"no LibriSpeech split {split!r}: looked for {data_folder / 'LibriSpeech' / split} and "
        f"{data_folder / split}; name the corpus with --data_folder, or get it with "
        "--download True or from https://www.openslr.org/12"
    )


def _listing(folder):
    """Sorted (path, size, modification time in ns) of all transcripts and audio of a split."""
    found = []
    for chapter in sorted(folder.glob("*/*/")):
        for entry in os.scandir(chapter):
            if entry.name.endswith((".flac", ".trans.txt")) and not entry.name.startswith("."):
                status = entry.stat()
                found.append((entry.path, status.st_size, status.st_mtime_ns))
    if not found:
        raise UserError(f"{folder} holds no <speaker>/<chapter>/*.flac: unpack the split again")
    return sorted(found)


def _digest(listing):
    return hashlib.md5(json.dumps(listing).encode()).hexdigest()


def _utterances(listing):
    """Match transcripts with audio: one dict per utterance, sorted by ID."""
    audio = {Path(path) for path, *_ in listing if path.endswith(".flac")}
    rows = {}
    for path in (Path(path) for path, *_ in listing if path.endswith(".trans.txt")):
        for number, line in enumerate(_lines(path), start=1):
            where = f"{path}, line {number}"
            name, _, words = line.strip().partition(" ")
            prefix, _, utterance = name.rpartition("-")
            if f"{prefix}.trans.txt" != path.name or not utterance.isdigit():
                raise UserError(
                    f"{where}: expected '{path.name.removesuffix('.trans.txt')}-<number> WORDS', "
                    f"found {line.strip()[:60]!r}"
                )
            if name in rows:
                raise UserError(f"{where}: {name} has two transcripts; remove one")
            wav = path.parent / f"{name}.flac"
            if wav not in audio:
                raise UserError(f"{where}: the audio of this transcript, {wav}, is missing")
            audio.remove(wav)
            speaker = path.parent.parent.name
            rows[name] = {"ID": name, "wav": str(wav), "spk_id": speaker, "wrd": words.strip()}
    if audio:
        wav = min(audio)
        expected = wav.parent / f"{wav.stem.rpartition('-')[0]}.trans.txt"
        raise UserError(f"{wav} has no transcript: {expected} has no line for it")
    return [rows[name] for name in sorted(rows)]


def _lines(path):
    """The lines of a text file, without blank ones at its end."""
    try:
        return path.read_text(encoding="utf-8").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from None


def _inspect(rows, min_duration, max_duration, decode, workers, split):
    """Add to each row its duration, what is wrong with its audio, and why it is to be rejected."""

    def inspect(row):
        row["duration"], row["unreadable"] = _audio(row["wav"], min_duration, max_duration, decode)
        row["reason"] = row["unreadable"] or ("" if row["wrd"] else "empty transcript")

    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(inspect, rows)
        for _ in tqdm(done, desc=f"Checking {split}", total=len(rows), delay=1):
            pass


def _audio(path, min_duration, max_duration, decode):
    """Duration in seconds, and why a file cannot be used (or nothing)."""
    try:
        with soundfile.SoundFile(path) as audio:
            duration = audio.frames / audio.samplerate
            if not min_duration <= duration <= max_duration:
                limits = f"{min_duration:g} to {max_duration:g} s"
                return duration, f"lasts {duration:.2f} s, which is not within {limits}"
            if not decode:
                audio.seek(audio.frames - 1)
            wanted = audio.frames - audio.tell()
            return duration, "" if len(audio.read(dtype="int16")) == wanted else "cut short"
    except soundfile.SoundFileError as error:
        problem = getattr(error, "error_string", "") or "corrupt or cut short"
        return 0.0, f"cannot be decoded ({problem.removeprefix('Error : ').rstrip('.')})"


def _select(rows, split, evaluated, bad_test_audio, save_folder):
    """The rows that a manifest keeps."""
    rejected = [row for row in rows if row["reason"]]
    if not rejected:
        return rows
    first = f"{rejected[0]['wav']}: {rejected[0]['reason']}"
    count = f"{len(rejected)} of {len(rows)} utterances of {split} are unusable"
    report = f"all are listed in {save_folder / REPORT}"
    if not evaluated:
        if len(rejected) > MAX_REJECTED * len(rows):
            raise UserError(f"{count}, more than 1%; the first is {first}; {report}")
        return [row for row in rows if not row["reason"]]
    if bad_test_audio == "refuse":
        raise UserError(
            f"{count}; the first is {first}; {report}; mend them, or count their words as "
            "deletions with --bad_test_audio empty"
        )
    for row in rejected:
        if row["unreadable"]:
            row["duration"] = UNREADABLE_DURATION
    return rows


def _write(path, text):
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
