"""AISHELL-1, and any corpus in its layout.

The layout is ``data_aishell/wav/{train,dev,test}/<speaker>/<utterance>.wav``, with the transcripts of
all splits in ``data_aishell/transcript/aishell_transcript_v0.8.txt``, one ``<utterance> <words>`` per
line. FLAC files are read as well. The corpus is distributed with one tarball per speaker in ``wav``.

Of the corpus's 141,925 recordings 141,600 have a transcript. The others cannot be used, and are listed
in ``rejected.txt``. The transcripts are divided into words by a segmenter; manifests hold them without
spaces.
"""

import shutil
from pathlib import Path

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.download import install, unpack
from speechbrain_recursive.data.prepare import LOSSLESS, listing, locate, transcripts
from speechbrain_recursive.data.synthesis import Twin
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import write_whole

TRANSCRIPT = "transcript/aishell_transcript_v0.8.txt"
SPLITS = ("train", "dev", "test")


def _place(split, speaker, nth):
    """The path of a synthetic speaker's nth utterance."""
    return f"wav/{split}/S{speaker:04d}/BAC009S{speaker:04d}W{nth + 1:04d}.wav"


def _write(root, plan):
    """Write the file of transcripts of the synthetic twin."""
    text = "".join(f"{Path(row['path']).stem} {row['text']}\n" for row in plan)
    write_whole(root / TRANSCRIPT, text)


class Aishell1(Corpus):
    """AISHELL-1: read Mandarin.

    In the synthetic twin all speakers are unpacked. eSpeak's rate of 120 to 165, the default, is 2.8 to
    4.0 characters a second; sentences have 9.5 characters and last 3 s.

    Arguments
    ---------
    train_splits, dev_splits, test_splits : sequence of str, optional
        Names of folders in ``data_aishell/wav``.

    Attributes
    ----------
    url : str
        The folder that holds ``data_aishell.tgz``.
    md5 : str
        The MD5 sum of that archive.

    Example
    -------
    >>> import tempfile
    >>> corpus = Aishell1()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data_folder = corpus.synthesize(folder, n_train=2, n_dev=1, n_test=1)
    ...     manifests = corpus.prepare(data_folder, folder)
    ...     sorted(path.name for path in manifests.values())
    ['dev.csv', 'test.csv', 'train.csv']
    """

    metric = "cer"
    train_splits, dev_splits, test_splits = (("train",), ("dev",), ("test",))
    url = "https://www.openslr.org/resources/33"
    md5 = "2f494334227864a8a8fec932999db9d8"
    language = "zh"
    hub = "AISHELL/AISHELL-1"
    twin = Twin("data_aishell", SPLITS, language="cmn", rates=(120, 165), place=_place, write=_write)

    def download(self, data_folder: str | Path) -> None:
        """Download and unpack the corpus (15 GB), unless it is there.

        The archive stays in ``data_folder``; ``data_aishell`` appears whole or not at all. The tarballs
        inside are unpacked by :meth:`prepare`. Arguments and errors are those of
        :meth:`Corpus.download`.
        """
        install(f"{self.url}/data_aishell.tgz", self.md5, Path(data_folder), "data_aishell")

    def utterances(self, data_folder, splits):
        """Find the splits, as :meth:`Corpus.utterances` describes.

        Tarballs are unpacked first, into the folder that holds them, which must be writable then; the
        tarballs stay.
        """
        page = "https://www.openslr.org/33"
        corpus = locate(data_folder / "data_aishell", "wav", "AISHELL-1", page)
        transcript = corpus / TRANSCRIPT
        if not transcript.is_file():
            raise UserError(f"no transcripts at {transcript}: unpack data_aishell.tgz again")
        _unpack(corpus / "wav")
        folders = {split: corpus / "wav" / split for split in dict.fromkeys((*SPLITS, *splits))}
        audio = {split: listing(path.glob("*/"), LOSSLESS) for split, path in folders.items()}
        for split in splits:
            if not audio[split]:
                raise UserError(
                    f"{folders[split]} holds no <speaker>/*.wav: unpack data_aishell.tgz again"
                )
        files = listing([transcript.parent], (transcript.name,))
        return [files, audio], lambda: _rows(transcript, audio)


def _unpack(wav):
    """Unpack the tarballs of speakers that are missing; each speaker's folder appears whole."""
    there = {folder.name for folder in wav.glob("*/*/")}
    tarballs = [path for path in sorted(wav.glob("*.tar.gz")) if path.name[:-7] not in there]
    partial = wav / ".unpacking"
    for tarball in Bar(tarballs, desc="Unpacking", delay=1):
        unpack(tarball, partial)
        for speaker in sorted(partial.glob("*/*/")):
            folder = wav / speaker.relative_to(partial)
            folder.parent.mkdir(exist_ok=True)
            speaker.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)


def _rows(transcript, audio):
    """Match transcripts with audio: by split, one dict per utterance, sorted by ID."""
    texts = transcripts([transcript])
    rows, found = {}, set()
    for split, files in audio.items():
        rows[split] = []
        for path in sorted((Path(path) for path, *_ in files), key=lambda path: path.stem):
            name = path.stem
            if name in found:
                raise UserError(f"{path}: there is other audio of the same name; remove one")
            found.add(name)
            text = "".join(texts[name][0].split()) if name in texts else None
            rows[split].append({"ID": name, "wav": str(path), "spk_id": path.parent.name, "wrd": text})
    for name, (_, _, where) in texts.items():
        if name not in found:
            raise UserError(f"{where}: the audio of this transcript, {name}.wav, is in no split")
    return rows
