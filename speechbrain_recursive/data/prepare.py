"""What every corpus's prepare function shares: from utterances to one checked manifest per split.

A corpus says which files it consists of and which utterances they hold; everything else is here.
"""

import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import soundfile
from tqdm import tqdm

from speechbrain_recursive.data.manifest import COLUMNS, write_manifest
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import write_whole

MAX_LEFT_OUT = 0.01  # of a split
UNREADABLE_DURATION = 0.5  # seconds of silence that stand for audio that cannot be read
STAMP = "prepared.json"
REPORT = "rejected.txt"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What is prepared, and what counts as an utterance.

    Arguments
    ---------
    train_splits, dev_splits, test_splits : sequence of str
        Names of splits.
    min_duration, max_duration : float
        Limits in seconds.
    bad_test_audio : str
        ``"refuse"`` or ``"empty"``: see :func:`build_manifests`.

    Raises
    ------
    UserError
        If ``bad_test_audio`` is neither.

    Example
    -------
    >>> Rules(["train"], ["dev"], ["dev"]).splits
    ['train', 'dev']
    """

    train_splits: tuple
    dev_splits: tuple
    test_splits: tuple
    min_duration: float = 0.1
    max_duration: float = 40.0
    bad_test_audio: str = "refuse"

    def __post_init__(self):
        if self.bad_test_audio not in ("refuse", "empty"):
            raise UserError(f"bad_test_audio must be 'refuse' or 'empty', not {self.bad_test_audio!r}")

    @property
    def splits(self):
        """All splits (list of str), each once."""
        return list(dict.fromkeys([*self.train_splits, *self.dev_splits, *self.test_splits]))

    def evaluates(self, split):
        """Whether a split is one of dev or test (bool)."""
        return split in self.dev_splits or split in self.test_splits


def build_manifests(save_folder, files, utterances, rules, workers=8):
    """Check utterances and write one CSV manifest per split, and ``rejected.txt``.

    A manifest has the columns ID, duration (seconds), wav (absolute path), spk_id, wrd and
    unreadable (a reason, or nothing), sorted by ID. A second call does nothing unless a rule, a file
    of the corpus or a manifest has changed.

    Files that are corrupt, too short or too long, empty transcripts and audio without a transcript are
    listed in ``rejected.txt``, one per line with the reason. Training goes without them, unless they are
    more than 1% of a split. In dev and test nothing that has a transcript is left out: with
    ``bad_test_audio`` at ``"refuse"`` such an utterance stops the call; at ``"empty"`` it is kept, and
    where its audio cannot be used the column ``unreadable`` says so, so that evaluation gives it an
    empty hypothesis and its words count as deletions. Audio that has no transcript cannot be scored: it
    is left out there too, again of up to 1% of a split. All audio is decoded in full, once per
    corpus, since a file that is damaged within would stop the training that meets it.

    Arguments
    ---------
    save_folder : str or Path
        Where manifests, ``rejected.txt`` and the record of the rules go.
    files : list of tuple
        All files of the corpus that the manifests depend on, as :func:`listing` gives them.
    utterances : callable
        ``() -> {split: rows}``, where a row is a dict of ID, wav, spk_id and wrd (None where there is
        no transcript); called only if there is something to do.
    rules : Rules
        What is wanted.
    workers : int
        Threads that read audio.

    Returns
    -------
    dict
        From the name of each split to the path of its manifest.

    Raises
    ------
    UserError
        If too much of a split is unusable, as above. No manifest is written then.
    """
    save_folder = Path(save_folder)
    manifests = {split: save_folder / f"{split}.csv" for split in rules.splits}
    corpus = hashlib.md5(json.dumps(files).encode()).hexdigest()
    record = json.dumps(asdict(rules) | {"columns": COLUMNS, "corpus": corpus}, indent=1)
    stamp = save_folder / STAMP
    unchanged = stamp.is_file() and stamp.read_text() == record
    if unchanged and all(path.is_file() for path in manifests.values()):
        return manifests

    rows = utterances()
    stamp.unlink(missing_ok=True)
    for split in rules.splits:
        _inspect(rows[split], rules, split, workers)
    rejected = [row for split in rules.splits for row in rows[split] if row["reason"]]
    write_whole(save_folder / REPORT, "".join(f"{row['wav']}: {row['reason']}\n" for row in rejected))
    kept = {split: _select(rows[split], rules, split, save_folder / REPORT) for split in rules.splits}
    for split, path in manifests.items():
        write_manifest(path, kept[split])
    write_whole(stamp, record)
    return manifests


def listing(folders, endings):
    """Files of a corpus with what tells whether they have changed.

    Arguments
    ---------
    folders : iterable of Path
        Where to look, not below; what is no folder is passed over.
    endings : tuple of str
        What names end with; hidden files are passed over.

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


def lines(path):
    """The lines of a text file, without blank ones at its end.

    Arguments
    ---------
    path : Path
        UTF-8 text.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from None


def _inspect(rows, rules, split, workers):
    """Add to each row its duration, what is wrong with its audio, and why it is to be rejected."""

    def inspect(row):
        row["duration"], row["unreadable"] = 0.0, ""
        if row["wrd"] is None:
            row["reason"] = "no transcript"
        else:
            row["duration"], row["unreadable"] = _audio(row["wav"], rules)
            row["reason"] = row["unreadable"] or ("" if row["wrd"] else "empty transcript")

    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(inspect, rows)
        for _ in tqdm(done, desc=f"Checking {split}", total=len(rows), delay=1):
            pass


def _audio(path, rules):
    """Duration in seconds, and why a file cannot be used (or nothing)."""
    try:
        with soundfile.SoundFile(path) as audio:
            duration = audio.frames / audio.samplerate
            if not rules.min_duration <= duration <= rules.max_duration:
                limits = f"{rules.min_duration:g} to {rules.max_duration:g} s"
                return duration, f"lasts {duration:.2f} s, which is not within {limits}"
            return duration, "" if len(audio.read(dtype="int16")) == audio.frames else "cut short"
    except soundfile.SoundFileError as error:
        problem = getattr(error, "error_string", "") or "corrupt or cut short"
        return 0.0, f"cannot be decoded ({problem.removeprefix('Error : ').rstrip('.')})"


def _select(rows, rules, split, report):
    """The rows that a manifest keeps."""
    everything, strict = rows, rules.evaluates(split)
    spare = [row for row in rows if row["reason"] and (row["wrd"] is None or not strict)]
    if len(spare) > MAX_LEFT_OUT * len(rows):
        raise UserError(_count(spare, rows, split, report, ", more than 1%"))
    if spare:
        logger.warning("left out: %s", _count(spare, rows, split, report))
        left_out = {row["ID"] for row in spare}
        rows = [row for row in rows if row["ID"] not in left_out]
    bad = [row for row in rows if row["reason"]]
    if bad and rules.bad_test_audio == "refuse":
        raise UserError(
            f"{_count(bad, everything, split, report)}; mend them, or count their words as "
            "deletions with --bad_test_audio empty"
        )
    for row in bad:
        if row["unreadable"]:
            row["duration"] = UNREADABLE_DURATION
    return rows


def _count(rejected, rows, split, report, remark=""):
    first = f"{rejected[0]['wav']}: {rejected[0]['reason']}"
    return (
        f"{len(rejected)} of {len(rows)} utterances of {split} are unusable{remark}; the first is "
        f"{first}; all are listed in {report}"
    )
