"""LibriSpeech, and any corpus in its layout.

The layout is ``LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac``, with the
transcripts of a chapter in ``<speaker>-<chapter>.trans.txt`` beside its audio, which may be WAV as
well.
"""

import itertools
from pathlib import Path

from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.download import fetch, install
from speechbrain_recursive.data.prepare import LOSSLESS, by_stem, listing, locate, transcripts
from speechbrain_recursive.data.synthesis import Twin
from speechbrain_recursive.errors import UserError

MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
NGRAMS = (  # trained on LibriSpeech's text for language models: 200,000 words in capitals
    "4-gram.arpa.gz",
    "3-gram.arpa.gz",
    "3-gram.pruned.1e-7.arpa.gz",
    "3-gram.pruned.3e-7.arpa.gz",
)
CHAPTER = 40  # utterances in a synthetic chapter, at most


def _place(split, speaker, nth):
    """The path of a synthetic speaker's nth utterance."""
    chapter = 1000 * speaker + nth // CHAPTER
    return f"{split}/{speaker}/{chapter}/{speaker}-{chapter}-{nth % CHAPTER:04d}.flac"


def _write(root, plan):
    """Write the transcripts of the synthetic twin."""
    for chapter, rows in itertools.groupby(plan, key=lambda row: (root / row["path"]).parent):
        transcript = "".join(f"{Path(row['path']).stem} {row['text']}\n" for row in rows)
        (chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt").write_text(transcript)


class LibriSpeech(Corpus):
    """LibriSpeech: read English. By default all 960 hours are for training.

    Sentences of the synthetic twin last 2.5 s by default, at 115 to 170 words a minute.

    Arguments
    ---------
    train_splits, dev_splits, test_splits : sequence of str, optional
        Names of folders in ``LibriSpeech``.

    Attributes
    ----------
    url : str
        The folder that holds ``<split>.tar.gz``.
    md5 : dict
        From each split that can be downloaded to the MD5 sum of its archive.
    ngram_url : str
        The folder that holds the n-grams.

    Example
    -------
    >>> import tempfile
    >>> corpus = LibriSpeech(["train-clean-100"], test_splits=["test-clean"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data_folder = corpus.synthesize(folder, n_train=2, n_dev=1, n_test=1)
    ...     manifests = corpus.prepare(data_folder, folder)
    ...     sorted(path.name for path in manifests.values())
    ['dev-clean.csv', 'test-clean.csv', 'train-clean-100.csv']
    """

    train_splits = ("train-clean-100", "train-clean-360", "train-other-500")
    dev_splits = ("dev-clean",)
    test_splits = ("test-clean", "test-other")
    language = "en"
    hub = "openslr/librispeech_asr"
    url = "https://www.openslr.org/resources/12"
    md5 = MD5
    ngram_url = "https://www.openslr.org/resources/11"
    twin = Twin(
        "LibriSpeech",
        ("train-clean-100", "dev-clean", "test-clean"),
        language="en-us",
        rates=(115, 170),
        place=_place,
        write=_write,
    )

    def download(self, data_folder: str | Path) -> None:
        """Download and unpack the splits that are missing.

        Archives stay in ``data_folder``; a split appears in ``data_folder/LibriSpeech`` whole or not at
        all. Arguments and errors are those of :meth:`Corpus.download`.

        Example
        -------
        >>> LibriSpeech(["train-clean-99"]).download(".")
        Traceback (most recent call last):
        speechbrain_recursive.errors.UserError: LibriSpeech has no split 'train-clean-99', only ...
        """
        data_folder = Path(data_folder)
        for split in self.splits:
            if split not in self.md5:
                raise UserError(f"LibriSpeech has no split {split!r}, only {', '.join(self.md5)}")
        for split in self.splits:
            if not (data_folder / split).is_dir():  # true where data_folder is LibriSpeech itself
                url = f"{self.url}/{split}.tar.gz"
                install(url, self.md5[split], data_folder, f"LibriSpeech/{split}")

    def download_ngram(self, path: str | Path) -> None:
        """Download one of the n-grams that OpenSLR publishes for LibriSpeech.

        OpenSLR gives no sums for them; the CRC that each gzip file contains is checked instead.
        Arguments and errors are those of :meth:`Corpus.download_ngram`.

        Example
        -------
        >>> LibriSpeech().download_ngram("models/5-gram.arpa.gz")
        Traceback (most recent call last):
        speechbrain_recursive.errors.UserError: models/5-gram.arpa.gz cannot be downloaded: only ...
        """
        path = Path(path)
        if path.name not in NGRAMS:
            raise UserError(f"{path} cannot be downloaded: only files named {', '.join(NGRAMS)} can be")
        fetch(f"{self.ngram_url}/{path.name}", path)

    def utterances(self, data_folder, splits):
        """Find the splits, as :meth:`Corpus.utterances` describes."""
        files = {}
        for split in splits:
            what, page = f"LibriSpeech split {split!r}", "https://www.openslr.org/12"
            folder = locate(data_folder / "LibriSpeech", split, what, page) / split
            files[split] = listing(folder.glob("*/*/"), (*LOSSLESS, ".trans.txt"))
            if not files[split]:
                raise UserError(f"{folder} holds no <speaker>/<chapter>/*.flac: unpack the split again")
        return files, lambda: {split: _rows(some) for split, some in files.items()}


def _rows(files):
    """Match transcripts with audio: one dict per utterance, sorted by ID."""
    audio = by_stem(Path(path) for path, *_ in files if path.endswith(LOSSLESS))
    texts = transcripts(Path(path) for path, *_ in files if path.endswith(".trans.txt"))
    rows = []
    for name, (words, path, where) in sorted(texts.items()):
        chapter, _, utterance = name.rpartition("-")
        if f"{chapter}.trans.txt" != path.name or not utterance.isdigit():
            chapter = path.name.removesuffix(".trans.txt")
            raise UserError(f"{where}: expected '{chapter}-<number> WORDS', found {name!r}")
        wav = audio.pop(path.parent / name, None)
        if wav is None:
            gone = path.parent / f"{name}.flac"
            raise UserError(f"{where}: the audio of this transcript, {gone}, is missing")
        speaker = path.parent.parent.name
        rows.append({"ID": name, "wav": str(wav), "spk_id": speaker, "wrd": words})
    if audio:
        wav = min(audio.values())
        expected = wav.parent / f"{wav.stem.rpartition('-')[0]}.trans.txt"
        raise UserError(f"{wav} has no transcript: {expected} has no line for it")
    return rows
