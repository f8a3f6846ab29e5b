"""The user's own recordings, as manifests list them.

A manifest is a CSV file of SpeechBrain's, with the columns ``ID``, ``wav`` and ``wrd``, or a file of
NeMo's with one JSON object per line and the keys ``audio_filepath`` and ``text``. Where utterances are
segments of longer files, ``start`` and ``stop``, or ``offset`` and ``duration``, give them in seconds.
``spk_id`` (or ``speaker``) and ``channel`` (counted from 0) are read as well, and nothing else.
"""

import csv
import functools
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import soundfile

from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.synthesis import Twin
from speechbrain_recursive.data.text import normal, plain
from speechbrain_recursive.data.tokenizers import TokenizerSpec
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole

ROOT = "manifest"  # the folder of the synthetic twin
SPLITS = ("train", "dev", "test")
NAMES = {"audio_filepath": "wav", "text": "wrd", "speaker": "spk_id", "id": "ID"}  # NeMo's, in ours
NEEDED = {".csv": ("ID", "wav", "wrd"), ".json": ("audio_filepath", "text")}
NUMBERS = {"start": float, "stop": float, "offset": float, "duration": float, "channel": int}
CASES = ("upper", "lower")
PLACEHOLDER = re.compile(r"^(\$(data_root|data_folder)|\{data_root\})(?=/)")
LATE = 0.1  # seconds by which a rounded or estimated duration may differ from the file's


def _place(split, speaker, nth):
    """The path of a synthetic speaker's nth utterance."""
    return f"{split}/{speaker}-{nth:04d}.wav"


def _write(root, plan):
    """Write the manifests of the synthetic twin."""
    for split in SPLITS:
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["ID", "duration", "wav", "spk_id", "wrd"])
        for row in plan:
            if row["split"] == split:
                path = Path(row["path"])
                seconds = f"{soundfile.info(root / path).duration:.2f}"
                table.writerow([path.stem, seconds, path, row["speaker"], row["text"]])
        write_whole(root / f"{split}.csv", text.getvalue())


class OwnData(Corpus):
    """The user's own recordings.

    Audio of any format that libsndfile reads stays where it is. A line that cannot be used is an error
    that names the manifest and the line.

    Arguments
    ---------
    train_manifest, dev_manifest, test_manifest : str or Path
        The manifests, ``*.csv`` or ``*.json``: absolute, or relative to the folder of the data.
    metric : str
        ``"wer"``, or ``"cer"`` for languages that are written without spaces.
    normalize : str or callable, optional
        ``"upper"`` or ``"lower"``: see :func:`speechbrain_recursive.data.text.plain`. Or a function from
        the text of a manifest to a transcript. By default, texts stay as they are.
    tokenizer : TokenizerSpec, optional
        Transcripts with characters that it cannot have tokens for are refused, in all splits.
    max_left_out : float
        Do without unreadable audio in training, up to this share of the lines.
    language : str, optional
        ISO 639-1 code, for the card of a published model.

    Raises
    ------
    UserError
        If an argument is not one of these.

    Example
    -------
    >>> import tempfile
    >>> corpus = OwnData(normalize="lower")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data_folder = corpus.synthesize(folder, n_train=2, n_dev=1, n_test=1)
    ...     manifests = corpus.prepare(data_folder, folder)
    ...     sorted(path.name for path in manifests.values())
    ['dev.csv', 'test.csv', 'train.csv']
    """

    train_splits, dev_splits, test_splits = (("train",), ("dev",), ("test",))
    title = "own recordings"
    twin = Twin(ROOT, SPLITS, language="en-us", rates=(115, 170), place=_place, write=_write)

    def __init__(
        self,
        train_manifest: str | Path = "train.csv",
        dev_manifest: str | Path = "dev.csv",
        test_manifest: str | Path = "test.csv",
        metric: str = "wer",
        normalize: str | Callable[[str], str] | None = None,
        tokenizer: TokenizerSpec | None = None,
        max_left_out: float = 0.0,
        language: str | None = None,
    ):
        super().__init__()
        self.manifests = dict(zip(SPLITS, (train_manifest, dev_manifest, test_manifest), strict=True))
        if metric not in ("wer", "cer"):
            raise UserError(f"metric is wer or cer, not {metric!r}")
        if not (normalize in (None, *CASES) or callable(normalize)):
            raise UserError(f"normalize is null, upper, lower or a function, not {normalize!r}")
        self.metric = metric
        self.normalize = functools.partial(plain, case=normalize) if normalize in CASES else normalize
        self.tokenizer = tokenizer
        self.max_left_out = max_left_out
        self.language = language

    def utterances(self, data_folder, splits):
        """Read the manifests, as :meth:`Corpus.utterances` describes."""
        rows = {split: self._rows(split, data_folder.absolute()) for split in splits}
        audio = {row["wav"] for some in rows.values() for row in some}
        status = {wav: os.stat(wav) for wav in sorted(audio)}
        files = [[wav, found.st_size, found.st_mtime_ns] for wav, found in status.items()]
        return [json.loads(json.dumps(rows)), files], lambda: rows

    def _rows(self, split, data_folder):
        """One dict per line of a manifest, sorted by ID."""
        name = self.manifests[split]
        places = [data_folder / name, data_folder / ROOT / name]
        path = next(filter(Path.is_file, places), places[0])
        rows, seconds = {}, functools.cache(_seconds)
        for where, fields in _lines(path, split):
            wav = PLACEHOLDER.sub(lambda _: str(data_folder), fields["wav"])
            wav = os.path.abspath(path.parent / wav)
            if not os.path.isfile(wav):
                raise UserError(f"{where}: there is no audio at {wav}")
            numbers = _numbers(where, fields)
            start, stop = _segment(where, numbers, seconds(wav))
            uid = fields.get("ID") or f"{os.path.splitext(fields['wav'])[0]}@{start or 0:g}"
            if uid in rows:
                raise UserError(f"{where}: {uid} is also in line {rows[uid]['where'].split()[-1]}")
            words = normal(self.normalize(fields["wrd"]) if self.normalize else fields["wrd"])
            if not words:
                raise UserError(f"{where}: the transcript is empty")
            speaker = str(fields.get("spk_id") or "")
            row = {"ID": uid, "wav": wav, "spk_id": speaker, "wrd": words, "where": where}
            rows[uid] = row | {"start": start, "stop": stop, "channel": numbers["channel"]}
        if not rows:
            raise UserError(f"{path} lists no utterances")
        if self.tokenizer:
            self._check_characters([(row["where"], row["wrd"]) for row in rows.values()])
        return [rows[uid] for uid in sorted(rows)]

    def _check_characters(self, texts):
        try:
            self.tokenizer.check(texts)
        except UserError as error:
            for case in CASES if self.normalize is None else ():
                with suppress(UserError):
                    self.tokenizer.check([(where, plain(text, case)) for where, text in texts])
                    form = f"put all transcripts into its form with --normalize {case}"
                    error = UserError(f"{error}, or {form}")
            raise error from None


def _lines(path: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """File and line, and the fields by our names, of each line of a manifest."""
    kind = {".jsonl": ".json"}.get(path.suffix, path.suffix)
    if kind not in NEEDED:
        raise UserError(f"{path}: a manifest is a file *.csv or *.json")
    missing = f"no manifest at {path}: name your data with --data_folder, or it with --{split}_manifest"
    text = read_text(path, missing)
    for number, found in (_csv if kind == ".csv" else _json)(path, text.removeprefix("\ufeff")):
        where = f"{path}, line {number}"
        if missing := [name for name in NEEDED[kind] if not isinstance(found.get(name), str)]:
            raise UserError(f"{where}: no {', '.join(missing)}")
        yield where, {NAMES.get(key, key): value for key, value in found.items()}


def _csv(path, text):
    table = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    missing = [name for name in NEEDED[".csv"] if name not in (table.fieldnames or ())]
    if missing:
        raise UserError(f"{path}, line 1: no column {', '.join(missing)}")
    for row in table:
        if None in row or None in row.values():
            fields = "many" if None in row else "few"
            raise UserError(
                f"{path}, line {table.line_num}: too {fields} columns; quote a text that has commas"
            )
        yield table.line_num, row


def _json(path, text):
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found = json.loads(line) if line.strip() else None
        except ValueError:
            found = line
        if found is not None:
            if not isinstance(found, dict):
                raise UserError(f"{path}, line {number}: no JSON object on a line of its own")
            yield number, found


def _numbers(where, fields):
    """The numbers of a line, each None if it is not there."""
    numbers = {}
    for key, kind in NUMBERS.items():
        value = fields.get(key)
        try:
            numbers[key] = None if value in (None, "") else kind(value)
        except (TypeError, ValueError):
            raise UserError(f"{where}: {value!r} is not a {key}") from None
    return numbers


def _segment(where, numbers, whole):
    """Start and stop in seconds, None for the borders of the file, which lasts `whole` seconds."""
    start, stop, offset, duration = map(numbers.get, ("start", "stop", "offset", "duration"))
    if offset is not None:
        start = offset
        stop = None if duration is None else offset + duration
    if whole is None:  # the audio cannot be read, which is said later
        return None, None
    if start is None and stop is None:
        if duration is not None and abs(duration - whole) > max(LATE, 0.01 * whole):
            raise UserError(
                f"{where}: the duration is {duration:g} s, and the audio lasts {whole:.2f} s; correct "
                "it, or give a segment by start and stop or by offset"
            )
        return None, None
    if not 0 <= (start or 0) < (whole if stop is None else stop) <= whole + LATE:
        end = "its end" if stop is None else f"{stop:g} s"
        raise UserError(f"{where}: no segment from {start or 0:g} s to {end} in {whole:.2f} s of audio")
    return start, None if stop is None else min(stop, whole)


def _seconds(wav):
    try:
        return soundfile.info(wav).duration
    except soundfile.SoundFileError:
        return None
