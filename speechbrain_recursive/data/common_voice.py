"""Common Voice French, release 7, and any corpus in its layout.

The layout is ``cv-corpus-7.0-2021-07-21/fr/clips/*.mp3`` (32 or 48 kHz), with one table of tab-separated
values per split beside ``clips``, such as ``train.tsv``. Of its columns, ``client_id`` (the speaker),
``path`` (the clip) and ``sentence`` are read. Nothing in a table is quoted. Clips that were converted to
WAV or FLAC are found under the names that tables give.
"""

import hashlib
from pathlib import Path

from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.french import normalize
from speechbrain_recursive.data.prepare import LOSSLESS, by_stem, listing
from speechbrain_recursive.data.synthesis import Twin
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole

RELEASE = "cv-corpus-7.0-2021-07-21"
PAGE = "https://commonvoice.mozilla.org/datasets"
SPLITS = ("train", "dev", "test")
READ = ("client_id", "path", "sentence")
COLUMNS = [*READ, "up_votes", "down_votes", "age", "gender", "accent", "locale", "segment"]


def _place(split, speaker, nth):
    """The path of a synthetic speaker's nth utterance."""
    return f"clips/common_voice_fr_{speaker}{nth:05d}.mp3"


def _write(root, plan):
    """Write the tables of the synthetic twin, with sentences as people type them."""
    tables = {}
    for row in plan:
        client = hashlib.sha512(str(row["speaker"]).encode()).hexdigest()
        text = row["text"].replace("'", "’")
        sentence = f"{text[0].upper()}{text[1:]}."
        fields = [client, Path(row["path"]).name, sentence, "2", "0", "", "", "", "fr", ""]
        tables.setdefault(row["split"], [COLUMNS]).append(fields)
    for split, rows in tables.items():
        write_whole(root / f"{split}.tsv", "".join("\t".join(row) + "\n" for row in rows))


class CommonVoice(Corpus):
    """Common Voice: sentences read by volunteers, here in French.

    Transcripts are normalized by :func:`speechbrain_recursive.data.french.normalize`. For another
    language, derive a class with a ``language``, a ``normalize`` and a ``twin`` (or None) of its own.

    In the synthetic twin, clips have 48 kHz; sentences last 2.4 s.

    Arguments
    ---------
    train_splits, dev_splits, test_splits : sequence of str, optional
        Names of tables, without ``.tsv``.

    Attributes
    ----------
    language : str
        Name of the folder that holds the clips and the tables.
    normalize : callable
        From a sentence to its transcript; what has no words becomes an empty one.

    Example
    -------
    >>> import tempfile
    >>> corpus = CommonVoice()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data_folder = corpus.synthesize(folder, n_train=2, n_dev=1, n_test=1)
    ...     manifests = corpus.prepare(data_folder, folder)
    ...     sorted(path.name for path in manifests.values())
    ['dev.csv', 'test.csv', 'train.csv']
    """

    train_splits, dev_splits, test_splits = (("train",), ("dev",), ("test",))
    language = "fr"
    normalize = staticmethod(normalize)
    hub = "mozilla-foundation/common_voice_7_0"
    twin = Twin(
        f"{RELEASE}/fr",
        SPLITS,
        language="fr",
        rates=(105, 155),
        place=_place,
        write=_write,
        sample_rate=48000,
    )

    def download(self, data_folder: str | Path) -> None:
        """Refuse, unless the corpus is there: it is given out by a form only.

        Arguments and errors are those of :meth:`Corpus.download`.

        Example
        -------
        >>> CommonVoice().download("nowhere")
        Traceback (most recent call last):
        speechbrain_recursive.errors.UserError: no Common Voice at nowhere: looked for ...
        """
        self._locate(Path(data_folder))

    def utterances(self, data_folder, splits):
        """Find the splits, as :meth:`Corpus.utterances` describes.

        ``data_folder`` may also be the language's folder itself.
        """
        folder = self._locate(data_folder)
        tables = {split: folder / f"{split}.tsv" for split in splits}
        for table in tables.values():
            if not table.is_file():
                raise UserError(f"{table} does not exist: unpack the archive of {self.language} again")
        clips = listing([folder / "clips"], (".mp3", *LOSSLESS))
        files = [listing([folder], tuple(table.name for table in tables.values())), clips]
        return files, lambda: self._rows(tables, by_stem(Path(path) for path, *_ in clips))

    def _locate(self, folder):
        """The folder that holds ``clips``, absolute."""
        inside = [folder, folder / self.language, *sorted(folder.glob(f"cv-corpus-*/{self.language}"))]
        found = [place for place in inside if (place / "clips").is_dir()]
        if not found:
            looked = f"clips/, {self.language}/clips/ and cv-corpus-*/{self.language}/clips/"
            raise UserError(
                f"no Common Voice at {folder}: looked for {looked}; it cannot be downloaded without a "
                f"form: get {RELEASE} ({self.language}) from {PAGE} and unpack it there"
            )
        if len(found) > 1:
            releases = ", ".join(str(place) for place in found)
            raise UserError(f"{folder} holds several corpora, {releases}: name one with --data_folder")
        return found[0].resolve()

    def _rows(self, tables, clips):
        """Read the tables: by split, one dict per utterance, sorted by ID."""
        rows, seen = {}, {}
        for split, table in tables.items():
            rows[split] = []
            for where, client, clip, sentence in _read(table):
                if clip in seen:
                    raise UserError(f"{where}: {clip} is also in {seen[clip]}; remove one")
                wav = clips.get(table.parent / "clips" / Path(clip).stem)
                if wav is None:
                    raise UserError(f"{where}: the clip of this sentence, {clip}, is not in clips/")
                seen[clip] = where
                words = self.normalize(sentence)
                row = {"ID": Path(clip).stem, "wav": str(wav), "spk_id": client, "wrd": words}
                rows[split].append(row)
            if not rows[split]:
                raise UserError(f"{table} has no sentences below its first line: unpack it again")
            rows[split].sort(key=lambda row: row["ID"])
        return rows


def _read(table):
    """Yield file and line, speaker, clip and sentence of each row of a table."""
    lines = read_text(table).rstrip("\n").split("\n")
    head = lines[0].split("\t")
    missing = [column for column in READ if column not in head]
    if missing:
        raise UserError(f"{table}, line 1: no column {', '.join(missing)}")
    places = [head.index(column) for column in READ]
    for number, line in enumerate(lines[1:], start=2):
        where, fields = f"{table}, line {number}", line.split("\t")
        if len(fields) != len(head):
            raise UserError(f"{where}: {len(fields)} columns, but line 1 has {len(head)}")
        yield where, *(fields[place] for place in places)
