import importlib.util
import textwrap

import pytest

from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError

# A corpus of segments and channels: all that a new corpus needs.
CALLS = """
    from pathlib import Path

    from speechbrain_recursive.data.corpus import Corpus
    from speechbrain_recursive.data.prepare import listing
    from speechbrain_recursive.data.synthesis import Twin

    ENDINGS = (".wav", ".txt")


    def _place(split, speaker, nth):
        return f"{split}/{speaker}-{nth:03}.wav"


    def _write(root, plan):
        for row in plan:
            text = root / row["path"].replace(".wav", ".txt")
            text.parent.mkdir(exist_ok=True)
            text.write_text(row["text"])


    class Calls(Corpus):
        metric = "cer"
        channels = (0,)
        train_splits, dev_splits, test_splits = ["train"], ["dev"], ["test"]
        twin = Twin(
            "calls",
            ("train", "dev", "test"),
            language="en-us",
            rates=(140, 150),
            place=_place,
            write=_write,
        )

        def utterances(self, data_folder, splits):
            files = {split: listing([data_folder / "calls" / split], ENDINGS) for split in splits}
            return files, lambda: {split: [*self._rows(some)] for split, some in files.items()}

        def _rows(self, files):
            for path in (Path(path) for path, *_ in files if path.endswith(".wav")):
                for channel in self.channels:
                    text = path.with_suffix(".txt").read_text()
                    row = {"ID": f"{path.stem}-{channel}", "wav": str(path), "spk_id": "", "wrd": text}
                    yield row | {"start": 0.25, "stop": 0.75, "channel": channel}
"""


@pytest.fixture
def calls(tmp_path):
    """The class of a corpus that stands in a file outside of the package."""
    path = tmp_path / "calls.py"
    path.write_text(textwrap.dedent(CALLS))
    spec = importlib.util.spec_from_file_location("calls", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Calls


def test_a_new_corpus_is_one_file(calls, tmp_path):
    corpus = calls()
    folder = corpus.synthesize(tmp_path / "data", n_train=3, n_dev=1, n_test=1)
    manifests = corpus.prepare(folder, tmp_path / "save")
    assert list(manifests) == ["train", "dev", "test"]
    rows = read_manifest(manifests["train"])
    assert len(rows) == 3
    assert all((row["start"], row["stop"], row["channel"]) == (0.25, 0.75, 0) for row in rows.values())
    assert all(row["duration"] == 0.5 for row in rows.values())
    assert corpus.units("A B") == ["A", "B"]
    with pytest.raises(UserError, match=r"there is no a\.arpa, and Calls has none to download"):
        corpus.download_ngram("a.arpa")
    with pytest.raises(UserError, match="download: Calls cannot be downloaded"):
        corpus.download(tmp_path)


def test_audio_is_checked_by_segment_and_channel(calls, tmp_path):
    corpus = calls()
    folder = corpus.synthesize(tmp_path / "data", n_train=3, n_dev=1, n_test=1)
    corpus.channels = (0, 1)  # of which the twin has only one
    with pytest.raises(UserError, match=r"3 of 6 .*\.wav \(\d+-\d+-1\): no channel 1, counted from 0"):
        corpus.prepare(folder, tmp_path / "save")


def test_splits_are_those_given_or_the_usual_ones():
    corpus = LibriSpeech(train_splits=["dev-clean"], test_splits=["dev-clean", "test-other"])
    assert corpus.splits == ["dev-clean", "test-other"]
    assert corpus.dev_splits == LibriSpeech().dev_splits == ("dev-clean",)
    assert LibriSpeech().splits == [*LibriSpeech().train_splits, "dev-clean", "test-clean", "test-other"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train_splits": []}, "train_splits names no split"),
        ({"test_splits": "test-clean"}, r"test_splits is a list of names, .* not 'test-clean'"),
        ({"dev_splits": [1]}, r"dev_splits is a list of names, such as \[train\], not \[1\]"),
        ({"dev_splits": 1}, "dev_splits is a list of names"),
    ],
)
def test_splits_are_checked(splits, message):
    with pytest.raises(UserError, match=message):
        LibriSpeech(**splits)


def test_a_corpus_without_usual_splits_must_be_given_some():
    with pytest.raises(UserError, match="train_splits names no split"):
        Corpus()


def test_a_corpus_without_a_twin_must_be_given_a_folder(tmp_path):
    with pytest.raises(UserError, match="Corpus has no synthetic twin: give its --data_folder"):
        Corpus(["a"], ["b"], ["c"]).synthesize(tmp_path)
