"""Synthetic twins of corpora: sentences of a grammar, spoken by eSpeak NG, in a corpus's layout.

They let every recipe run, with the real corpus's own prepare code, where there is no corpus.

No sentence occurs twice and no voice variant occurs in two splits, so test sentences and test voices are
unseen in training. How hard a corpus is depends on the speech more than on the model: faster speech and
odd voices are much harder to recognize. Each corpus therefore names its range of speaking rates, and the
variants below are those of eSpeak NG without

- whispers, robots, creaks, caricatures and the Klatt synthesizer's voices;
- voices that set a speed of their own (``Andrea``, ``anika``, ``Marco``, ...);
- voices whose breath is drawn from the C library's ``rand`` (``f2``, ``f3``, ``f5``, ...), which
  would not come out the same twice.

The 61 training voices are 44 variants, the first 17 of them at a low and at a high pitch.
"""

import functools
import hashlib
import importlib.metadata
import inspect
import itertools
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from filelock import FileLock
from scipy.signal import fftconvolve, resample_poly
from tqdm.contrib.concurrent import thread_map

from speechbrain_recursive.bars import Bar
from speechbrain_recursive.data import espeak, grammar, phonemes
from speechbrain_recursive.errors import UserError

SAMPLE_RATE = 16000
VARIANTS = {
    "train": """Alex Andy Annie Gene adam aunty david edward f1 iven2 john m1 m4 m7 max
        rob steph Diogo Gene2 Henrique Hugo Mario Michael Nguyen RicishayMax announcer benjamin
        ed edward2 gustave ian iven3 iven4 kaukovalta m5 michel miguel norbert paul shelby steph2
        steph3 travis zac""",
    "dev": "grandpa m2 linda quincy",
    "test": """Denis Lee Mike belinda boris f4 grandma m3 m6 m8 marcelo mike2 pablo
        robert""",
}
TRAIN_VOICES = 61
BABBLERS = 6
STAMP = "synthetic.json"


@dataclass(frozen=True)
class Twin:
    """The layout and language of a synthetic twin.

    Arguments
    ---------
    root : str
        Name of the corpus's folder.
    splits : tuple of str
        Names of the training, dev and test split.
    language : str
        Of its sentences, by eSpeak's name: see :mod:`speechbrain_recursive.data.grammar`.
    rates : tuple of int
        Lowest and highest nominal speaking rate by default, in eSpeak's words a minute.
    place : callable
        ``(split, speaker, nth) -> path``: the path below ``root`` of the nth utterance of a speaker,
        for the name of a split and a number of the speaker that is 101 or above. The stem of the path
        is the utterance's ID. Paths of a speaker sort as they are numbered. It is a function of the
        corpus's own file: the twin is made again when that file changes.
    write : callable
        ``(root, plan)``: writes transcripts and whatever else the corpus has beside its audio, which is
        there already. The plan has one dict per utterance: ``split``, ``speaker`` (int), ``path``,
        ``variant``, ``text`` and the parameters of its speech, in the order of speakers and paths.
    sample_rate : int
        Of the files, in Hz. The speech in them ends at 8 kHz. The endings of paths, such as ``.mp3``,
        decide on their format.
    say : callable
        From a sentence to what is said, no two alike; by default the sentence.
    """

    root: str
    splits: tuple[str, str, str]
    language: str
    rates: tuple[int, int]
    place: Callable[[str, int, int], str]
    write: Callable[[Path, list[dict[str, Any]]], None]
    sample_rate: int = SAMPLE_RATE
    say: Callable[[str], str] = str


def synthesize(
    twin: Twin,
    folder: str | Path,
    n_train: int = 4000,
    n_dev: int = 100,
    n_test: int = 300,
    seed: int = 1234,
    noise: bool = False,
    reverb: bool = False,
    rates: tuple[int, int] | None = None,
    workers: int = 2,
) -> Path:
    """Write a corpus under ``folder/<root>``, unless it is already there.

    The same arguments give the same bytes. The corpus appears whole or not at all, and is made
    again when an argument changes. Beside what the real corpus has, there is a ``phonemes.csv``: which
    phoneme is spoken when (see :mod:`speechbrain_recursive.data.phonemes`).

    Arguments
    ---------
    twin : Twin
        Layout and language.
    folder : str or Path
        The folder to put the corpus's folder into.
    n_train, n_dev, n_test : int
        Utterances in the training, dev and test split. Test and dev sets do not depend on the first.
    seed : int
        Seed of sentences, voices, rates, noise and rooms.
    noise : bool
        Add white noise or babble at 5 to 20 dB to half of the utterances of every split.
    reverb : bool
        Put half of the utterances of every split into a room (RT60 of 0.2 to 0.5 s).
    rates : tuple of int, optional
        Lowest and highest nominal speaking rate, in eSpeak's words a minute; by default the twin's.
    workers : int
        Threads that speak. The corpus does not depend on it.

    Returns
    -------
    Path
        ``folder``, as the ``data_folder`` of a recipe.

    Raises
    ------
    UserError
        If ``folder/<root>`` exists and is not synthetic.
    """
    folder = Path(folder)
    corpus, partial = folder / twin.root, folder / f"{twin.root}.partial"
    counts = dict(zip(twin.splits, (n_train, n_dev, n_test), strict=True))
    rates = twin.rates if rates is None else rates
    options = {
        "counts": counts,
        "seed": seed,
        "noise": noise,
        "reverb": reverb,
        "rates": list(rates),
        "made by": _makers(twin),
    }
    stamp = corpus / STAMP

    def is_there():
        return stamp.is_file() and json.loads(stamp.read_text()) == options

    if is_there():
        return folder
    if corpus.exists() and not stamp.is_file():
        raise UserError(
            f"{corpus} is not a synthetic corpus and will not be replaced; "
            "name another data_folder for the synthetic one"
        )
    corpus.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(corpus.parent / f".{corpus.name}.lock"):  # runs that start at once wait for the first
        if is_there():
            return folder
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        plan = _plan(twin, counts, seed, rates)
        babble = _babble(twin, seed) if noise else None
        speak = functools.partial(_speak, twin, partial, seed, babble, noise, reverb)
        speakers = [[*rows] for _, rows in itertools.groupby(plan, key=lambda row: row["speaker"])]
        bar = {"tqdm_class": Bar, "desc": "Synthesis", "unit": " speakers"}
        spoken = thread_map(speak, speakers, max_workers=workers, **bar)
        phonemes.write_phonemes(partial / phonemes.FILE, itertools.chain(*spoken))
        twin.write(partial, plan)
        (partial / STAMP).write_text(json.dumps(options, indent=1))
        shutil.rmtree(corpus, ignore_errors=True)
        partial.rename(corpus)
    return folder


def _makers(twin):
    """What a corpus depends on besides its options: the sources that make it, and eSpeak's version."""
    own = (espeak.__file__, grammar.__file__, phonemes.__file__, __file__)
    sources = b"".join(Path(file).read_bytes() for file in (*own, inspect.getfile(twin.place)))
    espeak_version = importlib.metadata.version("espeakng-loader")
    return f"{hashlib.md5(sources).hexdigest()}, espeakng-loader {espeak_version}"


def _plan(twin, counts, seed, rates):
    """One dict per utterance, by speaker and path; ``index`` is the order in which they are drawn."""
    texts = iter(grammar.sentences(sum(counts.values()), seed, twin.language))
    plan = []
    for role, split in reversed([*enumerate(twin.splits)]):  # test does not depend on the size of train
        rng = random.Random(f"{seed} {split}")
        variants = [*VARIANTS.values()][role].split()
        voices = [(variant, rng.randint(30, 48)) for variant in variants]
        if role == 0:
            again = variants[: TRAIN_VOICES - len(variants)]
            voices += [(variant, rng.randint(52, 70)) for variant in again]
        for i in range(counts[split]):
            voice, nth = i % len(voices), i // len(voices)
            speaker = 100 * (role + 1) + voice + 1
            plan.append(
                {
                    "split": split,
                    "speaker": speaker,
                    "path": twin.place(split, speaker, nth),
                    "variant": voices[voice][0],
                    "pitch": voices[voice][1],
                    "rate": rng.randint(*rates),
                    "text": twin.say(next(texts)),
                    "index": len(plan),
                }
            )
    return sorted(plan, key=lambda row: (row["speaker"], row["path"]))


def _speak(twin, root, seed, babble, noise, reverb, rows):
    """Speak and write all utterances of one speaker, with one synthesizer; return their phonemes."""
    voice, labels = espeak.Espeak(twin.language), []
    for row in rows:
        rng = np.random.default_rng((seed, row["index"]))
        spoken = voice.speak(row["text"].lower(), row["variant"], row["rate"], row["pitch"])
        silence = rng.integers(800, 2000, size=2)
        speech = np.pad(_resample(spoken / 32768.0, voice.sample_rate, SAMPLE_RATE), silence)
        signal = _record(speech, rng, babble, noise, reverb)
        path = root / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        signal = _resample(signal, SAMPLE_RATE, twin.sample_rate)
        soundfile.write(path, signal, twin.sample_rate)  # FLAC and WAV: 16 bits
        later = silence[0] / SAMPLE_RATE
        labels.append((path.stem, [phone.shifted(later) for phone in voice.phonemes]))
    return labels


def _resample(samples, rate, wanted):
    """Another sample rate; in one thread, so the same every time."""
    common = np.gcd(wanted, rate)
    return resample_poly(samples, wanted // common, rate // common) if wanted != rate else samples


def _record(speech, rng, babble, noise, reverb):
    """A room, noise, and a level; each drawn whether used or not. Nothing moves the speech."""
    floor = rng.normal(0, 1e-4, len(speech))  # -80 dB: no recording has digital silence
    in_room, rt60 = rng.random() < 0.5, rng.uniform(0.2, 0.5)
    if reverb and in_room:
        time = np.arange(int(rt60 * SAMPLE_RATE)) / SAMPLE_RATE
        room = rng.normal(0, 1, len(time)) * 10 ** (-3 * time / rt60)
        room *= 0.5 / np.linalg.norm(room)  # direct sound 6 dB above the reverberation
        room[0] = 1.0
        speech = fftconvolve(speech, room)[: len(speech)]
    noisy, snr, babbling = rng.random() < 0.5, rng.uniform(5, 20), rng.random() < 0.5
    if noise and noisy:
        start = rng.integers(0, len(babble))
        place = np.arange(start, start + len(speech))
        disturbance = babble.take(place, mode="wrap") if babbling else rng.normal(0, 1, len(speech))
        gain = np.linalg.norm(speech) / np.linalg.norm(disturbance) * 10 ** (-snr / 20)
        speech = speech + gain * disturbance
    return (speech / np.abs(speech).max()) * rng.uniform(0.25, 0.9) + floor


def _babble(twin, seed):
    """About a quarter of a minute of several training voices at once, shape [time]."""
    voices, tracks = VARIANTS["train"].split(), []
    for i in range(BABBLERS):
        voice = espeak.Espeak(twin.language)
        text = " ".join(grammar.sentences(6, f"{seed} babble {i}", twin.language)).lower()
        spoken = voice.speak(text, voices[i], 150, 40 + 4 * i)
        track = _resample(spoken / 32768.0, voice.sample_rate, SAMPLE_RATE)
        tracks.append(track / np.linalg.norm(track) * len(track) ** 0.5)
    return sum(track[: min(map(len, tracks))] for track in tracks)
