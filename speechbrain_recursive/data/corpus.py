"""What a corpus is: where it comes from, how it is laid out on disk, its splits and its metric."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from speechbrain_recursive.data import text
from speechbrain_recursive.data.glm import GLM
from speechbrain_recursive.data.prepare import MAX_LEFT_OUT, Rows, build_manifests
from speechbrain_recursive.data.synthesis import Twin, synthesize
from speechbrain_recursive.errors import UserError


class Corpus:
    """The base class of corpora.

    A new corpus is one file with one class derived from this one. It defines :meth:`utterances` and the
    class attributes below; :meth:`download` and :meth:`download_ngram` where there is something to
    download.

    Arguments
    ---------
    train_splits, dev_splits, test_splits : sequence of str, optional
        Which splits a run uses. By default, those that are usual for the corpus: the class attributes of
        the same names.

    Attributes
    ----------
    metric : str
        ``"wer"`` or ``"cer"``.
    twin : Twin or None
        How the synthetic twin is made, if there is one.
    max_left_out : float
        The share of a split's utterances that training may do without, if they are unusable.
    language : str or None
        ISO 639-1 code, for the cards of published models.
    hub : str or None
        The corpus's name on the Hugging Face Hub, for the same.
    title : str or None
        What these cards call the corpus; None: the name of the class.

    Raises
    ------
    UserError
        If an argument is not a list of names, or an empty one.

    Example
    -------
    >>> from speechbrain_recursive.data.librispeech import LibriSpeech
    >>> corpus = LibriSpeech(train_splits=["train-clean-100"])
    >>> corpus.splits
    ['train-clean-100', 'dev-clean', 'test-clean', 'test-other']
    """

    metric: ClassVar[str] = "wer"
    twin: ClassVar[Twin | None] = None
    max_left_out: float = MAX_LEFT_OUT
    language: ClassVar[str | None] = None
    hub: ClassVar[str | None] = None
    title: ClassVar[str | None] = None
    train_splits: Sequence[str] = ()
    dev_splits: Sequence[str] = ()
    test_splits: Sequence[str] = ()

    def __init__(
        self,
        train_splits: Sequence[str] | None = None,
        dev_splits: Sequence[str] | None = None,
        test_splits: Sequence[str] | None = None,
    ):
        given = {"train_splits": train_splits, "dev_splits": dev_splits, "test_splits": test_splits}
        for key, names in given.items():
            names = getattr(type(self), key) if names is None else names
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise UserError(f"{key} is a list of names, such as [train], not {names!r}")
            if not names:
                raise UserError(f"{key} names no split")
            setattr(self, key, tuple(names))

    @property
    def splits(self) -> list[str]:
        """All splits that are used, each once."""
        return list(dict.fromkeys((*self.train_splits, *self.dev_splits, *self.test_splits)))

    def units(self, words: str) -> list[str]:
        """Split a text into the units that the corpus's error rate counts.

        Arguments
        ---------
        words : str
            A transcript or a hypothesis.

        Returns
        -------
        list of str
        """
        return text.units(words, self.metric)

    def subset(self, split: str, uid: str) -> str | None:
        """Name the subset of a test set that an utterance belongs to, for rows of its own in reports.

        Arguments
        ---------
        split, uid : str
            The test set, and the utterance's ID.

        Returns
        -------
        str or None
            None, the default: the test set has no subsets.
        """
        return None

    def rules(self, manifest: str | Path) -> GLM | None:
        """Read the rules by which a set is scored, if it is scored as NIST scores conversations.

        Arguments
        ---------
        manifest : str or Path
            The manifest of the set, as :meth:`prepare` wrote it.

        Returns
        -------
        GLM or None
            None, the default: words are counted as they are.

        Raises
        ------
        UserError
            If there are rules that do not parse.
        """
        return None

    def download(self, data_folder: str | Path) -> None:
        """Download and unpack what is missing of the splits that are used.

        Arguments
        ---------
        data_folder : str or Path
            The folder to put the corpus's folder into.

        Raises
        ------
        UserError
            If the corpus cannot be downloaded, or the download fails.
        """
        raise UserError(f"download: {type(self).__name__} cannot be downloaded; set --download False")

    def download_ngram(self, path: str | Path) -> None:
        """Download an n-gram language model that is published with the corpus.

        Arguments
        ---------
        path : str or Path
            Where to put it, under the name it is published as.

        Raises
        ------
        UserError
            If there is no such n-gram, or the download fails.
        """
        raise UserError(f"ngram: there is no {path}, and {type(self).__name__} has none to download")

    def utterances(self, data_folder: Path, splits: Sequence[str]) -> tuple[Any, Callable[[], Rows]]:
        """Find the files of a corpus on disk.

        Arguments
        ---------
        data_folder : Path
            The folder that holds the corpus's folder, or that folder itself.
        splits : sequence of str
            Which splits to look for.

        Returns
        -------
        list or dict
            The files that manifests depend on, and
        callable
            what reads the transcripts; both as
            :func:`speechbrain_recursive.data.prepare.build_manifests` takes them.

        Raises
        ------
        UserError
            If the corpus or a split is missing. The callable raises it if a transcript is malformed or
            does not match the audio.
        """
        raise NotImplementedError

    def prepare(
        self, data_folder: str | Path, save_folder: str | Path, bad_test_audio: str = "refuse"
    ) -> dict[str, Path]:
        """Check the corpus and write one CSV manifest per split.

        :func:`speechbrain_recursive.data.prepare.build_manifests` describes what is checked, what a
        manifest holds and what is left out. Nothing is written before everything is checked, and a
        second call does nothing unless something has changed.

        Arguments
        ---------
        data_folder : str or Path
            The folder that holds the corpus's folder, or that folder itself.
        save_folder : str or Path
            Where manifests, ``rejected.txt`` and the record of the options go.
        bad_test_audio : str
            ``"refuse"`` or ``"empty"``: how an unusable utterance in dev or test is treated.

        Returns
        -------
        dict
            From the name of each split to the path of its manifest.

        Raises
        ------
        UserError
            If the corpus or a split is missing, if a transcript is malformed or does not match the
            audio, or if too much audio is unusable.
        """
        if bad_test_audio not in ("refuse", "empty"):
            raise UserError(f"bad_test_audio must be 'refuse' or 'empty', not {bad_test_audio!r}")
        strict = {split: split in (*self.dev_splits, *self.test_splits) for split in self.splits}
        files, read = self.utterances(Path(data_folder), self.splits)
        options = bad_test_audio, self.max_left_out
        return build_manifests(Path(save_folder), files, read, strict, *options)

    def synthesize(self, folder: str | Path, **options: Any) -> Path:
        """Write the synthetic twin in the corpus's layout, unless it is already there.

        Its splits are those of ``twin``, whichever splits the corpus uses.

        Arguments
        ---------
        folder : str or Path
            The folder to put the corpus's folder into.
        **options
            Those of :func:`speechbrain_recursive.data.synthesis.synthesize`.

        Returns
        -------
        Path
            ``folder``, as the ``data_folder`` of a recipe.

        Raises
        ------
        UserError
            If the corpus's folder exists and is not synthetic, or the corpus has no twin.
        """
        if self.twin is None:
            raise UserError(f"{type(self).__name__} has no synthetic twin: give its --data_folder")
        return synthesize(self.twin, folder, **options)
