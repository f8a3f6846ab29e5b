"""The synthetic twin of Switchboard: conversations of two voices in turns, and their references.

Each side has its channel. Turns follow each other with gaps and overlaps; in a third of them there is a
hesitation, UH or UM. Some words are laughed, and some turns end in noise, as far as the transcripts say.
"""

import itertools
import random
import re
from pathlib import Path

import numpy as np
import soundfile

from speechbrain_recursive.data.phonemes import FILE, read_phonemes, write_phonemes
from speechbrain_recursive.data.stm import name_of
from speechbrain_recursive.files import write_whole

TURNS = 30  # of each side in a conversation, at most
RATE = 8000
PAIRS = {"train": 31, "dev": 2, "hub5e_00": 7}  # of voices
FIRST = {"dev": 2001, "train": 2101, "hub5e_00": 4001}  # number of the first conversation
HESITATIONS = ("UH", "UM")
CONTRACTIONS = {"DON'T": "DO NOT", "WE'LL": "WE WILL", "LET'S": "LET US"}
HUB5 = {"audio": "LDC2002S09/hub5e_00/english", "text": "LDC2002T43/reference"}
STM, GLM = "hub5e00.english.000405.stm", "en20000405_hub5.glm"
HEADER = ';; CATEGORY "0" "" ""\n;; LABEL "O" "Overall" "Overall"\n;; LABEL "en" "CallHome" ""\n'
HEADER += ';; LABEL "sw" "Switchboard" ""\n'


def hesitate(sentence: str) -> str:
    """Put a hesitation between the words of a third of all sentences.

    Example
    -------
    >>> hesitate("YESTERDAY THEY COUNTED SEVEN ZEBRAS")
    'YESTERDAY THEY COUNTED SEVEN ZEBRAS'
    """
    rng, words = random.Random(sentence), sentence.split()
    if rng.random() < 1 / 3:
        words.insert(rng.randrange(len(words)), rng.choice(HESITATIONS))
    return " ".join(words)


def place(split: str, speaker: int, nth: int) -> str:
    """The path of a synthetic speaker's nth turn, before turns become conversations."""
    pair, side = divmod(speaker % 100 - 1, 2)
    chunk, turn = divmod(nth, TURNS)
    number, side = FIRST[split] + PAIRS[split] * chunk + pair, "AB"[side]
    if split == "hub5e_00":
        return f"turns/{'sw' if pair % 2 else 'en'}_{number}/sw_{number}{side}-{turn:04d}.wav"
    return f"turns/sw{number}/sw{number}{side}-ms98-a-{2 * turn + 2:04d}.wav"


def write(root: Path, plan: list[dict]) -> None:
    """Make conversations of the turns, and write transcripts, references and rules."""
    names, references = {}, []
    by_conversation = sorted(plan, key=lambda row: Path(row["path"]).parent)
    for folder, rows in itertools.groupby(by_conversation, key=lambda row: Path(row["path"]).parent):
        turns = _converse(root, folder.name, [*rows])
        if folder.name[2] == "_":
            references += _reference(folder.name, turns, names)
        else:
            _transcribe(root, folder.name, turns)
    (root / "turns").rmdir()
    text = root / HUB5["text"]
    write_whole(text / STM, HEADER + "".join(references))
    write_whole(text / GLM, _rules())
    labels = read_phonemes(root / FILE)
    write_phonemes(root / FILE, ((names.get(uid, uid), found) for uid, found in labels.items()))


def _converse(root, name, rows):
    """Write a conversation; returns its turns by side: start, stop (seconds) and row."""
    rng, now, free = np.random.default_rng([*name.encode()]), 0.5, [0.3, 0.3]
    sides = [[row for row in rows if _side(row) == side] for side in "AB"]
    turns, placed = ([], []), []
    for both in itertools.zip_longest(*sides):
        for side, row in enumerate(both):
            if row is None:
                continue
            samples, _ = soundfile.read(root / row["path"])
            (root / row["path"]).unlink()
            row["noise"] = not row["index"] % 12
            if row["noise"]:
                samples = np.concatenate([samples, rng.normal(0, 0.05, RATE // 4)])
            start = round(max(now + rng.uniform(-0.6, 0.6), free[side]), 3)
            first = round(start * RATE)
            now = (first + len(samples)) / RATE
            free[side] = now + 0.2
            turns[side].append((start, now, row))
            placed.append((side, first, samples))
    signal = rng.normal(0, 1e-3, (round((now + 1.0) * RATE), 2))
    for side, first, samples in placed:
        signal[first : first + len(samples), side] += samples
    folder = HUB5["audio"] if name[2] == "_" else "LDC97S62/swb1_d1/data"
    stem = name if name[2] == "_" else name.replace("sw", "sw0")
    path = root / folder / f"{stem}.sph"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal.clip(-1, 1), RATE, format="NIST", subtype="ULAW")
    (root / rows[0]["path"]).parent.rmdir()
    return turns


def _side(row):
    return re.search(r"\d([AB])-", row["path"])[1]


def _transcribe(root, name, turns):
    """Write the MS98 transcripts of both sides."""
    for side, some in zip("AB", turns, strict=True):
        lines, last = [], 0.0
        for number, (start, stop, row) in enumerate(some):
            uid = f"{name}{side}-ms98-a-"
            lines.append(f"{uid}{2 * number + 1:04d} {last:.6f} {start:.6f} [silence]\n")
            words = [
                _typed(word, i + row["index"]) for i, word in enumerate(row["text"].lower().split())
            ]
            words += ["[noise]"] * row["noise"]
            lines.append(f"{uid}{2 * number + 2:04d} {start:.6f} {stop:.6f} {' '.join(words)}\n")
            last = stop
        folder = root / "swb_ms98_transcriptions" / name[2:4] / name[2:]
        write_whole(folder / f"{name}{side}-ms98-a-trans.text", "".join(lines))


def _typed(word, index):
    """A word as transcribers type it: some are laughed, some have a second pronunciation."""
    return f"[laughter-{word}]" if not index % 37 else f"{word}_1" if not index % 41 else word


def _reference(name, turns, names):
    """Yield the lines of a conversation's references; ``names`` gets the IDs of turns."""
    kind = name[:2]
    for channel, (side, some) in enumerate(zip("AB", turns, strict=True)):
        about = f"{name} {side} {name}_{side}"
        yield f"{about} 0.00 0.25 <O,{kind},F,{kind}-F> IGNORE_TIME_SEGMENT_IN_SCORING\n"
        for *times, row in some:
            start, stop = (round(time, 2) for time in times)
            words = [CONTRACTIONS.get(word, word) for word in row["text"].split()]
            words = ["(%HESITATION)" if word in HESITATIONS else word for word in words]
            yield f"{about} {start:.2f} {stop:.2f} <O,{kind},F,{kind}-F> {' '.join(words)}\n"
            names[Path(row["path"]).stem] = name_of(name, channel, start, stop)


def _rules():
    """A small GLM: hesitations are one word, and hypotheses may contract."""
    edges = "/ [ ] __ [ ]"
    lines = [";; rules of the synthetic test", '* name "en20000405_hub5.glm"', "* format = 'NIST1'"]
    lines += ["* max_nrules = '100'", "* copy_no_hit = 'T'", "* case_sensitive = 'F'"]
    lines += [f"{word} => [(%HESITATION)] {edges} ;; hesitation" for word in HESITATIONS]
    lines += ["OK => [O. K.] " + edges, ';; INPUT_DEPENDENT_APPLICATION = "ctm"']
    lines += [f"{one} => [{{{one} / {other}}}] {edges}" for one, other in CONTRACTIONS.items()]
    return "".join(f"{line}\n" for line in lines)
