"""Synthetic corpora in the layouts of real ones on disk, spoken by eSpeak NG.

They let every recipe run, with the real corpus's own prepare code, where there is no corpus. How
sentences, voices, noise and rooms are drawn is told in :mod:`speechbrain_recursive.data.synthesis`.
"""

import itertools
from pathlib import Path

from speechbrain_recursive.data.synthesis import Twin, synthesize

FEMALE = "Annie aunty belinda f1 f4 grandma linda shelby steph steph2 steph3"
CHAPTER = 40  # utterances in a chapter of LibriSpeech, at most


def make_librispeech(
    folder,
    n_train=4000,
    n_dev=100,
    n_test=300,
    seed=1234,
    noise=False,
    reverb=False,
    rates=(115, 170),
    workers=2,
):
    """Write an English corpus in LibriSpeech's layout, unless it is already there.

    It has the splits ``train-clean-100``, ``dev-clean`` and ``test-clean``. By default its sentences
    last 2.5 s, at 115 to 170 words a minute.

    Arguments
    ---------
    folder : str or Path
        Where ``LibriSpeech`` is to stand.
    n_train, n_dev, n_test : int
        Utterances in each split.
    seed, noise, reverb, rates, workers
        See :func:`speechbrain_recursive.data.synthesis.synthesize`.

    Returns
    -------
    Path
        ``folder``, as the ``data_folder`` of a recipe.

    Raises
    ------
    UserError
        If ``folder/LibriSpeech`` holds something that was not written here.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = make_librispeech(folder, n_train=2, n_dev=1, n_test=1)
    ...     len(list(corpus.glob("LibriSpeech/*/*/*/*.flac")))
    4
    """
    counts = (n_train, n_dev, n_test)
    return synthesize(LIBRISPEECH, folder, counts, seed, noise, reverb, rates, workers)


def make_aishell(
    folder,
    n_train=4000,
    n_dev=100,
    n_test=300,
    seed=1234,
    noise=False,
    reverb=False,
    rates=(120, 165),
    workers=2,
):
    """Write a Mandarin corpus in AISHELL-1's layout, unless it is already there.

    It has the splits ``train``, ``dev`` and ``test``, with speakers already unpacked. eSpeak's rate of
    120 to 165 is 2.8 to 4.0 characters a second; sentences have 9.5 characters and last 3 s.

    Arguments
    ---------
    folder : str or Path
        Where ``data_aishell`` is to stand.
    n_train, n_dev, n_test : int
        Utterances in each split.
    seed, noise, reverb, rates, workers
        See :func:`speechbrain_recursive.data.synthesis.synthesize`.

    Returns
    -------
    Path
        ``folder``, as the ``data_folder`` of a recipe.

    Raises
    ------
    UserError
        If ``folder/data_aishell`` holds something that was not written here.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     corpus = make_aishell(folder, n_train=2, n_dev=1, n_test=1)
    ...     sorted(path.stem for path in corpus.glob("data_aishell/wav/*/*/*.wav"))
    ['BAC009S0101W0001', 'BAC009S0102W0001', 'BAC009S0201W0001', 'BAC009S0301W0001']
    """
    counts = (n_train, n_dev, n_test)
    return synthesize(AISHELL, folder, counts, seed, noise, reverb, rates, workers)


def _chapter(split, speaker, nth):
    """Where LibriSpeech has a speaker's nth utterance."""
    chapter = 1000 * speaker + nth // CHAPTER
    return f"{split}/{speaker}/{chapter}/{speaker}-{chapter}-{nth % CHAPTER:04d}.flac"


def _write_chapters(root, plan):
    """LibriSpeech's transcripts and ``SPEAKERS.TXT``."""
    for chapter, rows in itertools.groupby(plan, key=lambda row: (root / row["path"]).parent):
        chapter.mkdir(parents=True)
        speaker = chapter.parent.name
        transcript = "".join(f"{Path(row['path']).stem} {row['text']}\n" for row in rows)
        (chapter / f"{speaker}-{chapter.name}.trans.txt").write_text(transcript, encoding="utf-8")
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for speaker, rows in itertools.groupby(plan, key=lambda row: row["speaker"]):
        rows = [*rows]
        variant, minutes = rows[0]["variant"], len(rows) * 2.5 / 60
        sex = "F" if variant in FEMALE.split() else "M"
        lines.append(f"{speaker:<5}| {sex} | {rows[0]['split']:<17}| {minutes:<6.2f}| {variant}")
    (root / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")


def _speaker(split, speaker, nth):
    """Where AISHELL-1 has a speaker's nth utterance."""
    return f"wav/{split}/S{speaker:04d}/BAC009S{speaker:04d}W{nth + 1:04d}.wav"


def _write_transcript(root, plan):
    """AISHELL-1's one file of transcripts."""
    folder = root / "transcript"
    folder.mkdir()
    text = "".join(f"{Path(row['path']).stem} {row['text']}\n" for row in plan)
    (folder / "aishell_transcript_v0.8.txt").write_text(text, encoding="utf-8")


LIBRISPEECH = Twin(
    root="LibriSpeech",
    splits=("train-clean-100", "dev-clean", "test-clean"),
    language="en",
    voice="en-us",
    place=_chapter,
    write=_write_chapters,
)
AISHELL = Twin(
    root="data_aishell",
    splits=("train", "dev", "test"),
    language="cmn",
    voice="cmn",
    place=_speaker,
    write=_write_transcript,
)
