"""LibriSpeech, and whatever has its layout: from a corpus folder to one manifest per split.

Everything is checked before anything is written. The layout is
``LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac``, with the
transcripts of a chapter in ``<speaker>-<chapter>.trans.txt`` beside its audio.
"""

from pathlib import Path

from speechbrain_recursive.data.prepare import Rules, build_manifests, lines, listing
from speechbrain_recursive.errors import UserError


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

    What is checked, what a manifest holds and what is left out is told at
    :func:`speechbrain_recursive.data.prepare.build_manifests`.

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
    rules = Rules(train_splits, dev_splits, test_splits, min_duration, max_duration, bad_test_audio)
    files = {split: _files(_split_folder(data_folder, split)) for split in rules.splits}
    return build_manifests(
        save_folder,
        [file for split in rules.splits for file in files[split]],
        lambda: {split: _utterances(files[split]) for split in rules.splits},
        rules,
        workers,
    )


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


def _files(folder):
    """The listing of all transcripts and audio of a split."""
    found = listing(folder.glob("*/*/"), (".flac", ".trans.txt"))
    if not found:
        raise UserError(f"{folder} holds no <speaker>/<chapter>/*.flac: unpack the split again")
    return found


def _utterances(files):
    """Match transcripts with audio: one dict per utterance, sorted by ID."""
    audio = {Path(path) for path, *_ in files if path.endswith(".flac")}
    rows = {}
    for path in (Path(path) for path, *_ in files if path.endswith(".trans.txt")):
        for number, line in enumerate(lines(path), start=1):
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
