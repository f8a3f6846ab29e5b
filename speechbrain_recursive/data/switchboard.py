"""Switchboard, and NIST's tests of telephone conversations: Hub5'00, RT-02 and RT-03.

Files are found by their names, anywhere below the folder of the corpus:

- conversations, ``*.sph``, or as WAV or FLAC: two channels of 8 kHz; ``sw02001.sph`` and so on are those
  of Switchboard (LDC97S62), the others those of tests (LDC2002S09, LDC2004S11, LDC2007S10).
- transcripts of Switchboard by Mississippi State, ``sw2001A-ms98-a-trans.text``; see
  :mod:`speechbrain_recursive.data.ms98`.
- references of tests (STM), such as ``hub5e00.english.000405.stm`` (LDC2002T43), and their rules (GLM),
  such as ``en20000405_hub5.glm``.

Audio stays where it is: manifests give start, stop and channel of each utterance.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from speechbrain_recursive.data import conversations
from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.download import install
from speechbrain_recursive.data.glm import GLM
from speechbrain_recursive.data.prepare import LOSSLESS, MAX_LEFT_OUT, listing
from speechbrain_recursive.data.synthesis import Twin
from speechbrain_recursive.data.telephone import referenced, transcribed
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import write_whole

logger = logging.getLogger(__name__)

AUDIO = (".sph", ".SPH", *LOSSLESS)
ENDINGS = (*AUDIO, "-trans.text", ".stm", ".glm")
TRAINING = ("train", "dev")  # parts of Switchboard itself
REFERENCES = {  # patterns of paths below the corpus's folder, in lower case
    "hub5e_00": {"stm": "*hub5e00*.stm", "glm": "*hub5*.glm"},
    "rt02": {"stm": "*eval02/english/cts/*.stm", "glm": "*en2002*.glm"},
    "rt03": {"stm": "*eval03/english/cts/*.stm", "glm": "*en2003*.glm"},
}
SUBSETS = {"hub5e_00": {"sw": "swb", "en": "ch"}, "rt03": {"sw": "swb", "fsh": "fsh"}}


class Switchboard(Corpus):
    """Switchboard: English telephone conversations, with Hub5'00, RT-02 and RT-03 as tests.

    The first conversations are the split ``dev``, the others the split ``train``. Each side of a
    conversation is taken for a speaker.

    The synthetic twin has conversations of two voices in turns, with overlaps and hesitations.

    Arguments
    ---------
    train_splits, dev_splits, test_splits : sequence of str, optional
        Of ``train``, ``dev``, ``hub5e_00``, ``rt02`` and ``rt03``.
    dev_conversations : int
        How many conversations are held out for dev.
    references : mapping of str to mapping, optional
        By test split, patterns of the paths of its references (``stm``) and rules (``glm``) below the
        corpus's folder, in lower case, where the files have other names than usual.

    Attributes
    ----------
    url : str
        The archive of the transcripts.

    Example
    -------
    >>> import tempfile
    >>> corpus = Switchboard(dev_conversations=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data_folder = corpus.synthesize(folder, n_train=2, n_dev=2, n_test=2)
    ...     manifests = corpus.prepare(data_folder, folder)
    ...     sorted(path.name for path in manifests.values())
    ['dev.csv', 'hub5e_00.csv', 'train.csv']
    """

    train_splits, dev_splits, test_splits = (("train",), ("dev",), ("hub5e_00",))
    url = "https://www.openslr.org/resources/5/switchboard_word_alignments.tar.gz"
    language = "en"
    twin = Twin(
        "switchboard",
        ("train", "dev", "hub5e_00"),
        language="en-us",
        rates=(105, 155),
        place=conversations.place,
        write=conversations.write,
        sample_rate=conversations.RATE,
        say=conversations.hesitate,
    )

    def __init__(
        self,
        train_splits: Sequence[str] | None = None,
        dev_splits: Sequence[str] | None = None,
        test_splits: Sequence[str] | None = None,
        dev_conversations: int = 40,
        references: Mapping[str, Mapping[str, str]] | None = None,
    ):
        super().__init__(train_splits, dev_splits, test_splits)
        self.references = REFERENCES | {
            split: REFERENCES.get(split, {}) | dict(given) for split, given in (references or {}).items()
        }
        for split in self.splits:
            if split not in (*TRAINING, *self.references):
                known = ", ".join((*TRAINING, *self.references))
                raise UserError(f"Switchboard has no split {split!r}, only {known}")
        if type(dev_conversations) is not int or dev_conversations < 1:
            raise UserError(f"dev_conversations is a number above 0, not {dev_conversations!r}")
        self.dev_conversations = dev_conversations

    def subset(self, split: str, uid: str) -> str | None:
        """``swb`` or ``ch`` (CallHome) of Hub5'00, ``swb`` or ``fsh`` (Fisher) of RT-03."""
        return SUBSETS.get(split, {}).get(uid.partition("_")[0])

    def rules(self, manifest: str | Path) -> GLM | None:
        """The rules of a test, which :meth:`prepare` put beside its manifest; none for train and dev."""
        path = Path(manifest).with_suffix(".glm")
        return None if path.stem in TRAINING else GLM(path if path.is_file() else None)

    def download(self, data_folder: str | Path) -> None:
        """Download the transcripts of Switchboard, unless they are there; the LDC has the audio.

        Arguments and errors are those of :meth:`Corpus.download`.
        """
        files = _files(Path(data_folder))
        if not any(path.endswith("-trans.text") for path, *_ in files):
            install(self.url, None, Path(data_folder), "swb_ms98_transcriptions")

    def prepare(self, data_folder, save_folder, bad_test_audio="refuse"):
        """Write manifests as :meth:`Corpus.prepare`, and the rules of each test beside them."""
        rules = {}
        files = _files(Path(data_folder))
        for split in filter(self.references.__contains__, self.splits):
            found = self._find(data_folder, files, split, "glm")
            if found:
                GLM(found[-1])  # refuse rules that do not parse
                rules[split] = found[-1].read_bytes()
        manifests = super().prepare(data_folder, save_folder, bad_test_audio)
        for split, path in manifests.items():
            if split in rules:
                write_whole(path.with_suffix(".glm"), rules[split])
            else:
                path.with_suffix(".glm").unlink(missing_ok=True)
        return manifests

    def utterances(self, data_folder, splits):
        """Find the splits, as :meth:`Corpus.utterances` describes."""
        files = _files(data_folder)
        audio, transcripts = _audio(files), [Path(p) for p, *_ in files if p.endswith("-trans.text")]
        if not audio:
            raise UserError(
                f"no *.sph, *.wav or *.flac below {data_folder}: name the corpus (LDC97S62) with "
                "--data_folder"
            )
        if not transcripts and {*TRAINING} & {*splits}:
            raise UserError(
                f"no *-trans.text below {data_folder}: get the transcripts with --download True"
            )
        references = {s: self._find(data_folder, files, s, "stm") for s in splits if s not in TRAINING}
        for split, found in references.items():
            if not found:
                raise UserError(
                    f"no references of {split} below {data_folder}: looked for "
                    f"{self.references[split].get('stm')}; name others with --corpus "
                    f"'{{references: {{{split}: {{stm: ...}}}}}}', or leave it out of test_splits"
                )

        def read():
            rows = {split: referenced(found, audio) for split, found in references.items()}
            if {*TRAINING} & {*splits}:
                rows |= self._training(transcripts, audio)
            return rows

        return [files, self.dev_conversations], read

    def _find(self, data_folder, files, split, kind):
        """The references or rules of a test, sorted by name."""
        pattern = self.references[split].get(kind, "")
        paths = [Path(path) for path, *_ in files if path.endswith(f".{kind}")]
        found = [p for p in paths if fnmatch(f"/{p.relative_to(_root(data_folder))}".lower(), pattern)]
        return sorted(found, key=lambda path: path.name)

    def _training(self, transcripts, audio):
        """Rows of train and dev."""
        numbers = {}
        for path in sorted(transcripts):
            name = re.match(r"sw(\d{4})[AB]-", path.name)
            if name is None:
                raise UserError(f"{path}: transcripts are called sw2001A-ms98-a-trans.text, and so on")
            numbers.setdefault(name[1], []).append(path)
        missing = [number for number in numbers if f"sw0{number}" not in audio]
        if len(missing) > MAX_LEFT_OUT * len(numbers):
            raise UserError(
                f"{len(missing)} of {len(numbers)} conversations have transcripts but no audio; "
                f"the first is sw0{missing[0]}.sph: add the rest of LDC97S62"
            )
        if missing:
            logger.warning("without audio, and left out: %s", ", ".join(missing))
        there = sorted(numbers.keys() - missing)
        if len(there) <= self.dev_conversations:
            raise UserError(f"dev_conversations is {self.dev_conversations}, of {len(there)} in all")
        rows = {"dev": [], "train": []}
        for i, number in enumerate(there):
            split = "dev" if i < self.dev_conversations else "train"
            for path in numbers[number]:
                rows[split] += transcribed(path, audio[f"sw0{number}"])
        return {split: sorted(some, key=lambda row: row["ID"]) for split, some in rows.items()}


def _root(data_folder):
    return Path(data_folder).resolve()


def _files(data_folder):
    """All files of the corpus, sorted by path, with size and time."""
    return listing((Path(top) for top, *_ in os.walk(_root(data_folder), followlinks=True)), ENDINGS)


def _audio(files):
    """Conversations by name; names of Switchboard's as sw02001."""
    audio = {}
    for path in (Path(path) for path, *_ in files if path.endswith(AUDIO)):
        name = re.sub(r"^sw(\d{4})$", r"sw0\1", path.stem.lower())
        if name in audio:
            raise UserError(f"{path} and {audio[name]} are the same conversation: remove one")
        audio[name] = path
    return audio
