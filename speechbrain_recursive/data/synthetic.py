"""A synthetic corpus in LibriSpeech's layout on disk, spoken by eSpeak NG.

It lets every recipe run, with LibriSpeech's own prepare code, where there is no corpus. Three
splits are written: ``train-clean-100``, ``dev-clean`` and ``test-clean``. No sentence occurs twice
and no voice variant occurs in two splits, so test sentences and test voices are unseen in training.

What makes it easy or hard is the speech, more than the model: faster speech and odd voices move
the word error rate by tens of points. The nominal rate is therefore drawn from 115 to 170 words a
minute for each utterance, and the variants below are those of eSpeak NG that are left without

- whispers, robots, creaks, caricatures and the Klatt synthesiser's voices;
- voices that set a speed of their own (``Andrea``, ``anika``, ``Marco``, ...);
- voices whose breath is drawn from the C library's ``rand`` (``f2``, ``f3``, ``f5``, ...), which
  would not come out the same twice.

The 61 training voices are 44 variants, the first 17 of them at a low and at a high pitch.
"""

import hashlib
import importlib.metadata
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve, resample_poly
from tqdm import tqdm

from speechbrain_recursive.data import espeak, grammar
from speechbrain_recursive.errors import UserError

SAMPLE_RATE = 16000
SPLITS = ("train-clean-100", "dev-clean", "test-clean")
VARIANTS = {
    "train-clean-100": """Alex Andy Annie Gene adam aunty david edward f1 iven2 john m1 m4 m7 max
        rob steph Diogo Gene2 Henrique Hugo Mario Michael Nguyen RicishayMax announcer benjamin
        ed edward2 gustave ian iven3 iven4 kaukovalta m5 michel miguel norbert paul shelby steph2
        steph3 travis zac""",
    "dev-clean": "grandpa m2 linda quincy",
    "test-clean": """Denis Lee Mike belinda boris f4 grandma m3 m6 m8 marcelo mike2 pablo
        robert""",
}
FEMALE = "Annie aunty belinda f1 f4 grandma linda shelby steph steph2 steph3"
TRAIN_VOICES = 61
CHAPTER = 40  # utterances in a chapter, at most
BABBLERS = 6
STAMP = "synthetic.json"


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
    """Write the corpus under ``folder/LibriSpeech``, unless it is already there.

    The same arguments give the same bytes. The corpus appears whole or not at all, and is made
    anew when an argument changes.

    Arguments
    ---------
    folder : str or Path
        Where ``LibriSpeech`` is to stand.
    n_train, n_dev, n_test : int
        Utterances in each split. The test and dev sets do not depend on ``n_train``.
    seed : int
        Of sentences, voices, rates, noise and rooms.
    noise : bool
        Add white noise or babble at 5 to 20 dB to half of the utterances of every split.
    reverb : bool
        Put half of the utterances of every split into a room (RT60 of 0.2 to 0.5 s).
    rates : tuple of int
        Lowest and highest nominal speaking rate in words a minute.
    workers : int
        Threads that speak. The corpus does not depend on it.

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
    folder = Path(folder)
    corpus, partial = folder / "LibriSpeech", folder / "LibriSpeech.partial"
    counts = {"train-clean-100": n_train, "dev-clean": n_dev, "test-clean": n_test}
    options = {
        "counts": counts,
        "seed": seed,
        "noise": noise,
        "reverb": reverb,
        "rates": list(rates),
        "made by": _makers(),
    }
    stamp = corpus / STAMP
    if stamp.is_file() and json.loads(stamp.read_text()) == options:
        return folder
    if corpus.exists() and not stamp.is_file():
        raise UserError(
            f"{corpus} is not a synthetic corpus and will not be replaced; "
            "name another data_folder for the synthetic one"
        )
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)

    plan = _plan(counts, seed, rates)
    (partial / "SPEAKERS.TXT").write_text(_speakers(plan))
    babble = _babble(seed) if noise else None
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(plan), desc="Synthesis") as bar:
        jobs = [
            pool.submit(_speak, partial, rows, seed, babble, noise, reverb, bar)
            for rows in _by_speaker(plan)
        ]
        for job in jobs:
            job.result()
    (partial / STAMP).write_text(json.dumps(options, indent=1))
    shutil.rmtree(corpus, ignore_errors=True)
    partial.rename(corpus)
    return folder


def _makers():
    """What the corpus depends on besides its options."""
    sources = b"".join(Path(module.__file__).read_bytes() for module in (espeak, grammar))
    sources += Path(__file__).read_bytes()
    espeak_version = importlib.metadata.version("espeakng-loader")
    return f"{hashlib.md5(sources).hexdigest()}, espeakng-loader {espeak_version}"


def _plan(counts, seed, rates):
    """One dict per utterance: split, speaker, chapter, name, variant, pitch, rate, text, index."""
    texts = iter(grammar.sentences(sum(counts.values()), seed))
    plan = []
    for split in reversed(SPLITS):  # test first: it stays when the number of training rows changes
        rng = random.Random(f"{seed} {split}")
        variants = VARIANTS[split].split()
        voices = [(variant, rng.randint(30, 48)) for variant in variants]
        if split == "train-clean-100":
            again = variants[: TRAIN_VOICES - len(variants)]
            voices += [(variant, rng.randint(52, 70)) for variant in again]
        for i in range(counts[split]):
            voice, spoken = i % len(voices), i // len(voices)
            speaker = 100 * (SPLITS.index(split) + 1) + voice + 1
            chapter = 1000 * speaker + spoken // CHAPTER
            plan.append(
                {
                    "split": split,
                    "speaker": speaker,
                    "chapter": chapter,
                    "name": f"{speaker}-{chapter}-{spoken % CHAPTER:04d}",
                    "variant": voices[voice][0],
                    "pitch": voices[voice][1],
                    "rate": rng.randint(*rates),
                    "text": next(texts),
                    "index": len(plan),
                }
            )
    return plan


def _by_speaker(plan):
    """The plan's rows, one list per speaker, in the order of names."""
    speakers = {}
    for row in sorted(plan, key=lambda row: row["name"]):
        speakers.setdefault(row["speaker"], []).append(row)
    return speakers.values()


def _speakers(plan):
    """The text of ``SPEAKERS.TXT``."""
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for rows in _by_speaker(plan):
        row = rows[0]
        sex = "F" if row["variant"] in FEMALE.split() else "M"
        minutes = len(rows) * 2.5 / 60
        lines.append(
            f"{row['speaker']:<5}| {sex} | {row['split']:<17}| {minutes:<6.2f}| {row['variant']}"
        )
    return "\n".join(lines) + "\n"


def _speak(root, rows, seed, babble, noise, reverb, bar):
    """Speak and write all utterances of one speaker, with one synthesiser."""
    voice = espeak.Espeak("en-us")
    for row in rows:
        rng = np.random.default_rng((seed, row["index"]))
        spoken = voice.speak(row["text"].lower(), row["variant"], row["rate"], row["pitch"])
        signal = _record(_resample(spoken, voice.sample_rate), rng, babble, noise, reverb)
        folder = root / row["split"] / str(row["speaker"]) / str(row["chapter"])
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{row['name']}.flac", signal, SAMPLE_RATE, subtype="PCM_16")
        transcript = folder / f"{row['speaker']}-{row['chapter']}.trans.txt"
        with open(transcript, "a", encoding="utf-8") as lines:
            lines.write(f"{row['name']} {row['text']}\n")
        bar.update()


def _resample(samples, rate):
    """int16 at ``rate`` to floats in [-1, 1] at 16 kHz; in one thread, so the same every time."""
    common = np.gcd(SAMPLE_RATE, rate)
    return resample_poly(samples / 32768.0, SAMPLE_RATE // common, rate // common)


def _record(speech, rng, babble, noise, reverb):
    """Silence around the speech, a room, noise, and a level; each drawn whether used or not."""
    speech = np.pad(speech, rng.integers(800, 2000, size=2))
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


def _babble(seed):
    """About a quarter of a minute of several training voices at once, shape [time]."""
    voices, tracks = VARIANTS["train-clean-100"].split(), []
    for i in range(BABBLERS):
        voice = espeak.Espeak("en-us")
        text = " ".join(grammar.sentences(6, f"{seed} babble {i}")).lower()
        spoken = voice.speak(text, voices[i], 150, 40 + 4 * i)
        track = _resample(spoken, voice.sample_rate)
        tracks.append(track / np.linalg.norm(track) * len(track) ** 0.5)
    return sum(track[: min(map(len, tracks))] for track in tracks)
