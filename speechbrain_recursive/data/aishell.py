"""AISHELL-1, and whatever has its layout: from a corpus folder to one manifest per split.

The layout is ``data_aishell/wav/{train,dev,test}/<speaker>/<utterance>.wav``, with the transcripts of
all splits in ``data_aishell/transcript/aishell_transcript_v0.8.txt``, one ``<utterance> <words>`` to a
line. The corpus arrives with one tarball per speaker in ``wav``; those are unpacked beside themselves
and stay.

Of the corpus's 141,925 recordings 141,600 have a transcript. The others cannot be used, and are listed
in ``rejected.txt``. The words that transcripts are divided into are a segmenter's, not the speaker's:
manifests hold the text without spaces.
"""

import shutil
import tarfile
import zlib
from pathlib import Path

from tqdm import tqdm

from speechbrain_recursive.data.prepare import Rules, build_manifests, lines, listing
from speechbrain_recursive.errors import UserError

TRANSCRIPT = "transcript/aishell_transcript_v0.8.txt"
SPLITS = ("train", "dev", "test")


def prepare_aishell(
    data_folder,
    save_folder,
    train_splits=("train",),
    dev_splits=("dev",),
    test_splits=("test",),
    min_duration=0.1,
    max_duration=40.0,
    bad_test_audio="refuse",
    workers=8,
):
    """Check a corpus and write one CSV manifest per split.

    What is checked, what a manifest holds and what is left out is told at
    :func:`speechbrain_recursive.data.prepare.build_manifests`. Tarballs are unpacked first.

    Arguments
    ---------
    data_folder : str or Path
        The folder that holds ``data_aishell``, or that folder itself. It must be writable as long as
        there are tarballs to unpack.
    save_folder : str or Path
        Where manifests, ``rejected.txt`` and the record of the options go.
    train_splits, dev_splits, test_splits : sequence of str
        Names of folders in ``data_aishell/wav``.
    min_duration, max_duration : float
        Limits of what counts as an utterance, in seconds.
    bad_test_audio : str
        ``"refuse"`` or ``"empty"``: what becomes of a bad utterance in dev or test.
    workers : int
        Threads that read audio.

    Returns
    -------
    dict
        From the name of each split to the path of its manifest.

    Raises
    ------
    UserError
        If the corpus, its transcripts or a split are not there; if a tarball is damaged; if a line
        of the transcripts is malformed or has no audio; if more than 1% of a split has no transcript;
        if more than 1% of a training split, or anything in dev or test (see ``bad_test_audio``), is
        unusable.

    Example
    -------
    >>> import tempfile
    >>> from speechbrain_recursive.data.synthetic import make_aishell
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = make_aishell(folder, n_train=2, n_dev=1, n_test=1)
    ...     manifests = prepare_aishell(corpus, folder)
    ...     sorted(path.name for path in manifests.values())
    ['dev.csv', 'test.csv', 'train.csv']
    """
    rules = Rules(train_splits, dev_splits, test_splits, min_duration, max_duration, bad_test_audio)
    corpus = _corpus(data_folder)
    transcript = corpus / TRANSCRIPT
    if not transcript.is_file():
        raise UserError(f"no transcripts at {transcript}: unpack data_aishell.tgz again")
    _unpack(corpus / "wav")
    audio = {split: _audio(corpus / "wav" / split) for split in dict.fromkeys((*SPLITS, *rules.splits))}
    for split in rules.splits:
        if not audio[split]:
            raise UserError(
                f"{corpus / 'wav' / split} holds no <speaker>/*.wav, and no tarball of "
                f"{corpus / 'wav'} does: unpack data_aishell.tgz again"
            )
    return build_manifests(
        save_folder,
        [
            *listing([transcript.parent], (transcript.name,)),
            *(f for some in audio.values() for f in some),
        ],
        lambda: _utterances(transcript, audio),
        rules,
        workers,
    )


def _corpus(data_folder):
    """The folder that holds ``wav``, as an absolute path."""
    data_folder = Path(data_folder)
    for corpus in (data_folder / "data_aishell", data_folder):
        if (corpus / "wav").is_dir():
            return corpus.resolve()
    raise UserError(
        f"no AISHELL-1: looked for {data_folder / 'data_aishell' / 'wav'} and {data_folder / 'wav'}; "
        "name the corpus with --data_folder, or get it with --download True or from "
        "https://www.openslr.org/33"
    )


def _unpack(wav):
    """Unpack the tarballs whose speakers are not there yet; each speaker appears at once."""
    there = {folder.name for folder in wav.glob("*/*/")}
    tarballs = [path for path in sorted(wav.glob("*.tar.gz")) if path.name[:-7] not in there]
    partial = wav / ".unpacking"
    for tarball in tqdm(tarballs, desc="Unpacking", delay=1):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with tarfile.open(tarball) as members:
                members.extractall(partial, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise UserError(f"{tarball} cannot be unpacked ({error}): get it again") from None
        except OSError as error:  # gzip reports damage so, a full disk or a read-only folder as well
            raise UserError(f"{tarball} cannot be unpacked in {wav} ({error})") from None
        for speaker in sorted(partial.glob("*/*/")):
            folder = wav / speaker.relative_to(partial)
            folder.parent.mkdir(exist_ok=True)
            speaker.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)


def _audio(folder):
    """The listing of all audio of a split."""
    return listing(folder.glob("*/"), (".wav",))


def _utterances(transcript, audio):
    """Match transcripts with audio: by split, one dict per utterance, sorted by ID."""
    texts = {}
    for number, line in enumerate(lines(transcript), start=1):
        name, _, words = line.strip().partition(" ")
        if not name:
            raise UserError(
                f"{transcript}, line {number}: expected '<utterance> <words>', found nothing"
            )
        if name in texts:
            raise UserError(f"{transcript}, line {number}: {name} has two transcripts; remove one")
        texts[name] = "".join(words.split()), number
    rows, heard = {}, set()
    for split, files in audio.items():
        rows[split] = []
        for path in sorted((Path(path) for path, *_ in files), key=lambda path: path.stem):
            name = path.stem
            if name in heard:
                raise UserError(f"{path}: there is other audio of the same name; remove one")
            heard.add(name)
            text, _ = texts.get(name, (None, None))
            rows[split].append({"ID": name, "wav": str(path), "spk_id": path.parent.name, "wrd": text})
    for name, (_, number) in texts.items():
        if name not in heard:
            raise UserError(
                f"{transcript}, line {number}: the audio of this transcript, {name}.wav, is in no split"
            )
    return rows
