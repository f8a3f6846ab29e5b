import dataclasses
import json
import runpy
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data import synthesis
from speechbrain_recursive.data.aishell import Aishell1
from speechbrain_recursive.data.common_voice import CommonVoice
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.data.phonemes import Phoneme, read_phonemes
from speechbrain_recursive.data.synthesis import TRAIN_VOICES, VARIANTS
from speechbrain_recursive.errors import UserError

CORPORA = [LibriSpeech, Aishell1, CommonVoice]
SMALL = {"n_train": 6, "n_dev": 1, "n_test": 2}
make_librispeech = LibriSpeech().synthesize


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_voices_and_sentences_of_test_are_unseen_in_training():
    voices = [variants.split() for variants in VARIANTS.values()]
    every = [*chain(*voices)]
    assert len(set(every)) == len(every)
    assert len(voices[2]) == 14


@pytest.mark.parametrize("twin", [each.twin for each in CORPORA], ids=lambda twin: twin.root)
def test_plan(twin):
    train, dev, test = twin.splits
    plan = synthesis._plan(twin, {train: 500, dev: 30, test: 60}, 1, (115, 170))
    texts = {split: {row["text"] for row in plan if row["split"] == split} for split in twin.splits}
    assert sum(map(len, texts.values())) == len(set.union(*texts.values())) == 590
    variants = {
        split: {row["variant"] for row in plan if row["split"] == split} for split in twin.splits
    }
    assert sum(map(len, variants.values())) == len(set.union(*variants.values()))
    spoken = {(row["variant"], row["pitch"]) for row in plan if row["split"] == train}
    assert len(spoken) == TRAIN_VOICES == 61
    assert len({row["path"] for row in plan}) == 590
    assert {115, 170} <= {row["rate"] for row in plan} <= set(range(115, 171))


def test_test_set_does_not_depend_on_the_size_of_training(corpus, tmp_path):
    more = make_librispeech(tmp_path, n_train=9, n_dev=2, n_test=3)
    for split in ("dev-clean", "test-clean"):
        split_of = [contents(folder / "LibriSpeech" / split) for folder in (corpus, more)]
        assert split_of[0] == split_of[1]


# Frames and levels (root mean square) of the utterances of small corpora, in the order of their paths.
MADE = {
    (LibriSpeech, False): ([41477, 24858, 44140, 42457], [0.03209, 0.07281, 0.058, 0.09108]),
    (LibriSpeech, True): ([41477, 24858, 44140, 42457], [0.10291, 0.03037, 0.05644, 0.08238]),
    (Aishell1, False): ([51532, 54345, 55974, 59020], [0.08691, 0.10443, 0.05245, 0.05697]),
    (Aishell1, True): ([51532, 54345, 55974, 59020], [0.08691, 0.11095, 0.09555, 0.11636]),
    (CommonVoice, False): ([114420, 108102, 94503, 123210], [0.10481, 0.06014, 0.07129, 0.04147]),
    (CommonVoice, True): ([114420, 108102, 94503, 123210], [0.06142, 0.12161, 0.06559, 0.04147]),
}


@pytest.mark.parametrize(("corpus", "disturbed"), MADE)
def test_the_same_arguments_give_the_same_audio_in_every_version(tmp_path, corpus, disturbed):
    counts = {"n_train": 2, "n_dev": 1, "n_test": 1}
    corpus().synthesize(tmp_path, seed=7, noise=disturbed, reverb=disturbed, **counts)
    paths = [path for path in sorted(tmp_path.rglob("*")) if path.suffix in (".flac", ".wav", ".mp3")]
    audio = [soundfile.read(path)[0] for path in paths]
    frames, levels = MADE[corpus, disturbed]
    assert [len(samples) for samples in audio] == frames
    assert [np.sqrt(np.mean(samples**2)) for samples in audio] == pytest.approx(levels, rel=1e-3)


def test_the_stamp_depends_on_the_corpus_s_own_file(tmp_path):
    before = {corpus: synthesis._makers(corpus.twin) for corpus in CORPORA}
    own = tmp_path / "own.py"
    own.write_text("def place(split, speaker, nth):\n    return ''\n")
    place = runpy.run_path(str(own))["place"]
    twin = dataclasses.replace(LibriSpeech.twin, place=place)
    first = synthesis._makers(twin)
    own.write_text(own.read_text() + "\n")
    assert len({*before.values(), first, synthesis._makers(twin)}) == 5
    assert {corpus: synthesis._makers(corpus.twin) for corpus in before} == before


@pytest.mark.parametrize("disturbed", [False, True])
def test_same_bytes_whatever_the_number_of_threads(tmp_path, disturbed):
    settings = SMALL | {"noise": disturbed, "reverb": disturbed}
    one = make_librispeech(tmp_path / "one", workers=1, **settings)
    two = make_librispeech(tmp_path / "two", workers=3, **settings)
    assert contents(one) == contents(two)
    other = make_librispeech(tmp_path / "other", seed=5, **settings)
    assert contents(one) != contents(other)


@pytest.mark.parametrize("corpus", [Aishell1, CommonVoice])
def test_other_languages_have_the_same_bytes_too(tmp_path, corpus):
    settings = SMALL | {"noise": True, "reverb": True}
    one = corpus().synthesize(tmp_path / "one", workers=1, **settings)
    two = corpus().synthesize(tmp_path / "two", workers=3, **settings)
    assert contents(one) == contents(two)


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
            synthesis._record(speech, np.random.default_rng(seed), babble, noise, False)
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
        patch.setattr(synthesis, "_speak", None)  # would fail if anything were spoken
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
        patch.setattr(synthesis.soundfile, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            make_librispeech(tmp_path, **SMALL)
    assert not (tmp_path / "LibriSpeech").exists()
    make_librispeech(tmp_path, **SMALL)
    assert len(list(tmp_path.glob("LibriSpeech/*/*/*/*.flac"))) == 9
    assert not (tmp_path / "LibriSpeech.partial").exists()


def test_of_two_runs_that_start_at_once_one_waits(tmp_path, monkeypatch):
    def build():
        return LibriSpeech().synthesize(tmp_path, n_train=12, n_dev=2, n_test=2)

    spoken, speak = [], synthesis._speak
    monkeypatch.setattr(synthesis, "_speak", lambda *given: spoken.append(1) or speak(*given))
    with ThreadPoolExecutor(2) as pool:
        folders = [run.result() for run in [pool.submit(build), pool.submit(build)]]
    assert folders == [tmp_path, tmp_path]
    once = len(spoken)
    build()
    assert len(spoken) == once
    shutil.rmtree(tmp_path / "LibriSpeech")
    build()
    assert len(spoken) == 2 * once


def test_a_real_corpus_is_never_replaced(tmp_path):
    book = tmp_path / "LibriSpeech" / "BOOKS.TXT"
    book.parent.mkdir()
    book.write_text("mine")
    with pytest.raises(UserError, match="not a synthetic corpus"):
        make_librispeech(tmp_path, **SMALL)
    assert book.read_text() == "mine"


AUDIO = {LibriSpeech: ".flac", Aishell1: ".wav", CommonVoice: ".mp3"}


@pytest.mark.parametrize(("corpus", "ending"), AUDIO.items())
def test_phonemes_are_labeled_where_they_are_in_the_files(tmp_path, corpus, ending):
    folder = corpus().synthesize(tmp_path, n_train=4, n_dev=2, n_test=3, reverb=True)
    files = {path.stem: path for path in folder.rglob(f"*{ending}")}
    (labels,) = folder.rglob("phonemes.csv")
    labels = read_phonemes(labels)
    assert labels.keys() == files.keys()
    leads = set()
    for uid, phonemes in labels.items():
        samples, rate = soundfile.read(files[uid])
        loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max()) / rate
        assert 0 <= loud[0] - phonemes[0].start < 0.06  # a stop is silent first
        assert phonemes[-1].end < len(samples) / rate - 0.05
        assert not any(one.name.startswith(("_", "'", ",")) for one in phonemes)
        leads.add(round(phonemes[0].start, 3))
    assert len(leads) > 5, "each utterance begins with a silence of its own"


class Clicks:
    """A synthesizer of clicks, each a phoneme."""

    sample_rate = 22050

    def __init__(self, language):
        self.phonemes = []

    def speak(self, text, *settings):
        samples, clicks = np.zeros(20000), [1000, 6000, 9000 + 10 * len(text), 19000]
        samples[clicks] = 20000
        starts = [place / self.sample_rate for place in clicks]
        self.phonemes = [Phoneme(start, start + 0.1, "k") for start in starts]
        return samples.astype(np.int16)


@pytest.mark.parametrize("reverb", [False, True])
@pytest.mark.parametrize(("corpus", "ending"), AUDIO.items())
def test_labels_are_exact_to_the_sample_of_the_file(tmp_path, monkeypatch, corpus, ending, reverb):
    monkeypatch.setattr(synthesis.espeak, "Espeak", Clicks)
    folder = corpus().synthesize(tmp_path, n_train=3, n_dev=1, n_test=2, reverb=reverb)
    labels = read_phonemes(folder / corpus.twin.root / "phonemes.csv")
    paths = [*folder.rglob(f"*{ending}")]
    assert len(paths) == len(labels) == 6
    for path in paths:
        samples, rate = soundfile.read(path)
        assert len(labels[path.stem]) == 4
        for phoneme in labels[path.stem]:
            start = round(phoneme.start * rate)
            around = np.abs(samples[start - 150 : start + 150])
            assert abs(around.argmax() - 150) <= 1
            assert around.max() > 0.1
