import json
import re
from itertools import chain

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data import synthetic
from speechbrain_recursive.data.synthetic import SPLITS, TRAIN_VOICES, VARIANTS, make_librispeech
from speechbrain_recursive.errors import UserError

SMALL = {"n_train": 6, "n_dev": 1, "n_test": 2}


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def transcripts(folder, split):
    lines = [p.read_text() for p in sorted(folder.glob(f"LibriSpeech/{split}/*/*/*.trans.txt"))]
    return [line.split(" ", 1) for line in "".join(lines).splitlines()]


def test_layout_is_that_of_librispeech(corpus):
    for split, count in zip(SPLITS, (8, 2, 3), strict=True):
        audio = sorted(corpus.glob(f"LibriSpeech/{split}/*/*/*.flac"))
        assert len(audio) == count
        assert sorted(name for name, _ in transcripts(corpus, split)) == [p.stem for p in audio]
        for path in audio:
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.format) == (16000, 1, "FLAC")
            assert 0.8 < info.duration < 6
            speaker, chapter, number = path.stem.split("-")
            assert (path.parent.parent.name, path.parent.name) == (speaker, chapter)
            assert re.fullmatch(r"\d+-\d+-\d{4}", path.stem), number
    speakers = (corpus / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines()
    assert len(speakers) == 1 + 8 + 2 + 3


def test_voices_and_sentences_of_test_are_unseen_in_training(tmp_path):
    voices = {split: VARIANTS[split].split() for split in SPLITS}
    every = [*chain(*voices.values())]
    assert len(set(every)) == len(every)
    assert len(voices["test-clean"]) == 14
    plan = synthetic._plan({"train-clean-100": 500, "dev-clean": 30, "test-clean": 60}, 1, (115, 170))
    texts = {split: {row["text"] for row in plan if row["split"] == split} for split in SPLITS}
    assert sum(map(len, texts.values())) == 590
    spoken = {(row["variant"], row["pitch"]) for row in plan if row["split"] == "train-clean-100"}
    assert len(spoken) == TRAIN_VOICES == 61
    assert len({row["name"] for row in plan}) == 590
    assert {115, 170} <= {row["rate"] for row in plan} <= set(range(115, 171))


def test_test_set_does_not_depend_on_the_size_of_training(corpus, tmp_path):
    more = make_librispeech(tmp_path, n_train=9, n_dev=2, n_test=3)
    for split in ("dev-clean", "test-clean"):
        split_of = [contents(folder / "LibriSpeech" / split) for folder in (corpus, more)]
        assert split_of[0] == split_of[1]


@pytest.mark.parametrize("disturbed", [False, True])
def test_same_bytes_whatever_the_number_of_threads(tmp_path, disturbed):
    settings = SMALL | {"noise": disturbed, "reverb": disturbed}
    one = make_librispeech(tmp_path / "one", workers=1, **settings)
    two = make_librispeech(tmp_path / "two", workers=3, **settings)
    assert contents(one) == contents(two)
    other = make_librispeech(tmp_path / "other", seed=5, **settings)
    assert contents(one) != contents(other)


def test_noise_and_room_change_about_half_of_the_utterances(tmp_path):
    def corpus(**options):
        folder = make_librispeech(tmp_path / str(options), n_train=40, n_dev=1, n_test=1, **options)
        audio = contents(folder / "LibriSpeech" / "train-clean-100")
        return {name: data for name, data in audio.items() if name.endswith(".flac")}

    clean, noisy, room = corpus(), corpus(noise=True), corpus(reverb=True)
    for changed in (noisy, room):
        count = sum(changed[name] != clean[name] for name in clean)
        assert clean.keys() == changed.keys()
        assert 10 <= count <= 30


def test_noise_is_as_loud_as_it_says():
    rng = np.random.default_rng(0)
    speech, babble = rng.normal(0, 0.1, 32000), rng.normal(0, 1, 8000)
    for seed in range(20):
        clean, noisy = (
            synthetic._record(speech, np.random.default_rng(seed), babble, noise, False)
            for noise in (False, True)
        )
        scale = (clean @ noisy) / (clean @ clean)  # levels differ: fit one to the other
        difference = np.linalg.norm(noisy - scale * clean)
        snr = 20 * np.log10(scale * np.linalg.norm(clean) / max(difference, 1e-9))
        assert 4.5 < snr < 20.5 or snr > 50


def test_second_call_does_nothing_and_changed_options_rebuild(tmp_path, monkeypatch):
    make_librispeech(tmp_path, **SMALL)
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "_speak", None)  # would fail if anything were spoken
        make_librispeech(tmp_path, workers=1, **SMALL)
    make_librispeech(tmp_path, rates=(140, 141), **SMALL)
    after = contents(tmp_path)
    assert before.keys() == after.keys()
    assert before != after
    assert json.loads(after["LibriSpeech/synthetic.json"])["rates"] == [140, 141]


def test_interrupted_build_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(synthetic.soundfile, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            make_librispeech(tmp_path, **SMALL)
    assert not (tmp_path / "LibriSpeech").exists()
    make_librispeech(tmp_path, **SMALL)
    assert len(list(tmp_path.glob("LibriSpeech/*/*/*/*.flac"))) == 9
    assert not (tmp_path / "LibriSpeech.partial").exists()


def test_a_real_corpus_is_never_replaced(tmp_path):
    book = tmp_path / "LibriSpeech" / "BOOKS.TXT"
    book.parent.mkdir()
    book.write_text("mine")
    with pytest.raises(UserError, match="not a synthetic corpus"):
        make_librispeech(tmp_path, **SMALL)
    assert book.read_text() == "mine"
