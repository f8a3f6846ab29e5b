"""Switchboard and its tests: what manifests hold, the synthetic twin, and what can be wrong."""

import gzip
import io
import re
import shutil
import tarfile
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data import synthesis
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.conversations import FIRST, HESITATIONS
from speechbrain_recursive.data.grammar import word_types
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.ms98 import normalize, read_ms98
from speechbrain_recursive.data.phonemes import read_phonemes
from speechbrain_recursive.data.stm import read_stm
from speechbrain_recursive.data.switchboard import Switchboard
from speechbrain_recursive.errors import UserError

STM = "LDC2002T43/reference/hub5e00.english.000405.stm"
GLM = "LDC2002T43/reference/en20000405_hub5.glm"
corpus = Switchboard(dev_conversations=1)


@pytest.fixture
def own(switchboard, tmp_path):
    """A copy of the corpus, to damage: its folder."""
    shutil.copytree(switchboard, tmp_path / "own")
    return tmp_path / "own/switchboard"


def refused(folder, prepared=corpus):
    """What preparing says when it refuses; it writes no manifest then."""
    with pytest.raises(UserError) as caught:
        prepared.prepare(folder, folder.parent / "save")
    assert "\n" not in str(caught.value)
    assert not [*(folder.parent / "save").glob("*.csv")]
    return str(caught.value)


def change(path, number, line):
    """Replace a line of a file, counted from 1; returns file and line as messages name them."""
    lines = path.read_text().splitlines(keepends=True)
    lines[number - 1] = f"{line}\n"
    path.write_text("".join(lines))
    return f"{path}, line {number}"


def segment_of(path, number):
    return path.read_text().splitlines()[number - 1].split()


def test_manifests_hold_the_corpus(switchboard, tmp_path):
    manifests = corpus.prepare(switchboard, tmp_path)
    rows = {split: read_manifest(path) for split, path in manifests.items()}
    assert [len(rows[split]) for split in ("train", "dev", "hub5e_00")] == [18, 2, 6]
    for split, some in rows.items():
        assert list(some) == sorted(some)
        for uid, row in some.items():
            assert row["duration"] == pytest.approx(row["stop"] - row["start"], abs=1e-3)
            side = re.search(r"sw\d{4}([AB])|-([AB])_", uid)
            assert "AB"[row["channel"]] == side[1] or side[2]
            assert row["wav"].startswith(str(switchboard))
            assert split == "hub5e_00" or row["spk_id"] == f"{row['wav'][-11:-4]}-{side[1]}"
    assert {row["wav"][-11:] for row in rows["dev"].values()} == {"sw02001.sph"}
    transcripts = [turn for path in switchboard.rglob("*-trans.text") for turn in read_ms98(path)]
    spoken = {turn.uid: turn.words for turn in transcripts}
    assert {uid: row["wrd"] for split in ("train", "dev") for uid, row in rows[split].items()} == spoken
    references = [segment.words for segment in read_stm(switchboard / "switchboard" / STM)]
    assert sorted(row["wrd"] for row in rows["hub5e_00"].values()) == sorted(references)
    assert (tmp_path / "hub5e_00.glm").read_bytes() == (switchboard / "switchboard" / GLM).read_bytes()


def test_audio_is_cut_from_the_conversations(switchboard, tmp_path):
    rows = read_manifest(corpus.prepare(switchboard, tmp_path)["hub5e_00"])
    for row in rows.values():
        whole, rate = soundfile.read(row["wav"], dtype="float32")
        first = round(row["start"] * rate)
        expected = whole[first : first + round(row["duration"] * rate), row["channel"]]
        found = read_audio(row["wav"], 8000, row["start"], row["stop"], row["channel"]).numpy()
        assert np.array_equal(found, expected)
        assert np.abs(found).max() > 0.1
        other = whole[first : first + 80, 1 - row["channel"]]
        assert not np.array_equal(found[:80], other)


@pytest.mark.parametrize("inside", ["", "switchboard"])
def test_both_folders_can_be_named(switchboard, tmp_path, inside):
    assert len(read_manifest(corpus.prepare(switchboard / inside, tmp_path)["train"])) == 18


def test_files_are_found_wherever_they_are(own, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in [*own.rglob("*.*")]:
        if path.is_file():
            path.rename(flat / path.name.replace("sw02", "sw2").replace(".sph", ".SPH"))
    assert len(read_manifest(corpus.prepare(flat, tmp_path)["train"])) == 18


def test_the_references_of_rt03(own, tmp_path):
    folder = own / "LDC2007S10/data/references/eval03/english/cts"
    audio = own / "LDC2007S10/data/audio/eval03/english/cts"
    for path in (folder, audio, own / "LDC2007S10/data/trans_rules"):
        path.mkdir(parents=True)
    for name in ("sw_47620", "fsh_60262"):
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, (16000, 2))
        soundfile.write(audio / f"{name}.sph", noise, 8000, format="NIST", subtype="ULAW")
        (folder / f"{name}.stm").write_text(f"{name} 2 {name}_2 0.5 1.25 <o,f0,male> SUMMER UH\n")
    (own / "LDC2007S10/data/trans_rules/en20030506.glm").write_text(";;\nA => B\n")
    both = Switchboard(test_splits=["hub5e_00", "rt03"], dev_conversations=1)
    rows = read_manifest(both.prepare(own, tmp_path)["rt03"])
    assert [*rows] == ["fsh_60262-B_000050-000125", "sw_47620-B_000050-000125"]
    assert {row["wrd"] for row in rows.values()} == {"SUMMER UH"}
    assert {both.subset("rt03", uid) for uid in rows} == {"swb", "fsh"}
    assert (tmp_path / "rt03.glm").read_text() == ";;\nA => B\n"


def test_references_of_other_names(own, tmp_path):
    path = own / STM
    path.rename(path.with_name("Mine.stm"))
    said = refused(own)
    assert f"no references of hub5e_00 below {own}: looked for *hub5e00*.stm" in said
    other = Switchboard(references={"hub5e_00": {"stm": "*/mine.stm"}}, dev_conversations=1)
    assert len(read_manifest(other.prepare(own, tmp_path)["hub5e_00"])) == 6


def test_without_rules_there_is_no_file_of_them(own, tmp_path):
    corpus.prepare(own, tmp_path)
    (own / GLM).unlink()
    corpus.prepare(own, tmp_path)
    assert not (tmp_path / "hub5e_00.glm").exists()


def test_subsets():
    assert corpus.subset("hub5e_00", "sw_4390-A_000100-000200") == "swb"
    assert corpus.subset("hub5e_00", "en_4156-A_000100-000200") == "ch"
    assert corpus.subset("rt02", "sw_45097-A_000100-000200") is None


@pytest.mark.parametrize(
    ("typed", "spoken"),
    [
        ("[silence]", ""),
        ("[noise] [laughter] [vocalized-noise] <b_aside> yeah <e_aside>", "YEAH"),
        ("[laughter-summer] [laughter-uh]", "SUMMER UH"),
        ("[laughter-th[at]-]", "TH-"),
        ("summer uh-huh uhuh", "SUMMER UH-HUH UHUH"),
        ("ab[solute]- -[an]y ex[specially]-", "AB- -Y EX-"),
        ("[it'n/isn't] [lem[guini]-/linguini]", "IT'N LEM-"),
        ("{yuppiedom} them_1 okay_2", "YUPPIEDOM THEM OKAY"),
        ("i'd like c[ould]n't -", "I'D LIKE C[OULD]N'T"),
    ],
)
def test_transcripts_are_normalized_word_by_word(typed, spoken):
    assert normalize(typed) == spoken


# What a person can have wrong: one line that names file and line.


def test_a_file_that_was_cut_short(own):
    path = min(own.rglob("sw0*.sph"))
    path.write_bytes(path.read_bytes()[:20000])
    assert refused(own).startswith(f"{path} was cut short")


def test_a_segment_outside_its_audio(own):
    path = own / STM
    fields = segment_of(path, 6)
    where = change(path, 6, " ".join([*fields[:3], "1.0", "9999.0", *fields[5:]]))
    said = refused(own)
    assert said.startswith(f"{where}: a segment from 1 to 9999 s, but ")
    assert re.search(rf"{fields[0]}\.sph lasts \d+\.\d\d s$", said)


def test_a_segment_may_end_a_little_late(own, tmp_path):
    path = own / STM
    fields = segment_of(path, 6)
    info = soundfile.info(next(own.rglob(f"{fields[0]}.sph")))
    change(path, 6, " ".join([*fields[:3], "1.0", f"{info.duration + 0.05:.3f}", *fields[5:]]))
    rows = read_manifest(corpus.prepare(own, tmp_path)["hub5e_00"])
    assert max(row["stop"] for row in rows.values()) == pytest.approx(info.duration)


@pytest.mark.parametrize("split", ["hub5e_00", "train"])
def test_a_channel_that_the_file_lacks(own, split):
    if split == "train":
        (path,) = own.rglob("sw2101B-ms98-a-trans.text")
        number, audio = 2, next(own.rglob("sw02101.sph"))
    else:
        path = own / STM
        number = (
            next(i for i, line in enumerate(path.read_text().splitlines(), 1) if " B en_" in line) + 1
        )
        audio = next(own.rglob(f"{segment_of(path, number)[0]}.sph"))
    samples, rate = soundfile.read(audio)
    soundfile.write(audio, samples[:, 0], rate, format="NIST", subtype="ULAW")
    assert refused(own) == f"{path}, line {number}: channel B, but {audio} has 1 channel"


def test_a_channel_that_there_is_not(own):
    path = own / STM
    fields = segment_of(path, 6)
    where = change(path, 6, " ".join([fields[0], "C", *fields[2:]]))
    assert refused(own).startswith(f"{where}: 'C' is no channel")


def test_rules_that_do_not_parse(own):
    where = change(own / GLM, 8, "UH -> UM")
    assert refused(own).startswith(f"{where}: 'UH -> UM' is no rule")


def test_a_malformed_transcript(own):
    (path,) = own.rglob("sw2101A-ms98-a-trans.text")
    where = change(path, 2, "sw2101A-ms98-a-0002 1.0")
    assert refused(own).startswith(f"{where}: expected '<utterance> <start> <stop> WORDS'")


def test_audio_that_is_missing(own):
    path = own / STM
    name = segment_of(path, 6)[0]
    next(own.rglob(f"{name}.sph")).unlink()
    assert re.match(
        rf"{path}, line \d+: the audio of this segment, {name}.sph, is missing$", refused(own)
    )
    next(own.rglob("sw02101.sph")).unlink()
    said = refused(own, Switchboard(test_splits=["dev"], dev_conversations=1))
    assert re.match(r"1 of \d+ conversations have transcripts but no audio; .* sw02101.sph", said)


def test_what_is_missing_is_named(own, tmp_path):
    shutil.rmtree(own / "swb_ms98_transcriptions")
    assert refused(own).endswith("get the transcripts with --download True")
    (tmp_path / "nothing").mkdir()
    assert refused(tmp_path / "nothing").startswith(
        f"no *.sph, *.wav or *.flac below {tmp_path / 'nothing'}"
    )


def test_a_conversation_that_is_there_twice(own):
    path = min(own.rglob("sw0*.sph"))
    shutil.copy(path, own / path.name)
    assert re.match(r"(.*sph) and (.*sph) are the same conversation: remove one", refused(own))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"test_splits": ["eval2000"]},
            "Switchboard has no split 'eval2000', only train, dev, hub5e_00",
        ),
        ({"dev_conversations": 0}, "dev_conversations is a number above 0, not 0"),
    ],
)
def test_options_that_are_wrong(given, why):
    with pytest.raises(UserError, match=f"^{why}"):
        Switchboard(**given)


def test_more_dev_than_there_is(switchboard, tmp_path):
    with pytest.raises(UserError, match=r"^dev_conversations is 40, of 10 in all$"):
        Switchboard().prepare(switchboard, tmp_path)


def test_transcripts_can_be_downloaded(own, tmp_path):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        file.add(own / "swb_ms98_transcriptions", "swb_ms98_transcriptions")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(archive.getvalue()))
    shutil.rmtree(own / "swb_ms98_transcriptions")
    mirrored = Switchboard(dev_conversations=1)
    mirrored.url = f"file://{tmp_path}/a.tar.gz"
    for _ in range(2):  # the second time there is nothing to do
        mirrored.download(own)
        (tmp_path / "a.tar.gz").unlink(missing_ok=True)
    assert len(read_manifest(mirrored.prepare(own, tmp_path)["train"])) == 18


# The synthetic twin


def test_the_twin_has_the_layout_of_the_corpus(switchboard):
    root = switchboard / "switchboard"
    assert not (root / "turns").exists()
    for path in root.rglob("*.sph"):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("NIST", "ULAW", 8000, 2)
    assert {path.parent.name for path in root.rglob("en_*.sph")} == {"english"}
    for path in root.rglob("*-trans.text"):
        number = path.name[2:6]
        assert path.parts[-3:-1] == (number[:2], number)
    spoken = {*word_types("en-us"), *HESITATIONS}
    for path in root.rglob("*-trans.text"):
        assert all(set(turn.words.split()) <= spoken for turn in read_ms98(path))


def test_turns_overlap_and_hesitate(tmp_path):
    folder = corpus.synthesize(tmp_path, n_train=2, n_dev=4, n_test=42)
    rows = read_manifest(Switchboard(dev_conversations=2).prepare(folder, tmp_path)["hub5e_00"])
    by_file = {}
    for row in rows.values():
        by_file.setdefault(row["wav"], []).append((row["start"], row["stop"], row["channel"]))
    overlaps = 0
    for turns in by_file.values():
        for side in (0, 1):
            mine = sorted(turn[:2] for turn in turns if turn[2] == side)
            assert all(a[1] <= b[0] for a, b in pairwise(mine))
        turns.sort()
        overlaps += sum(b[0] < a[1] for a, b in pairwise(turns))
    assert 3 <= overlaps <= 30
    words = [row["wrd"] for row in rows.values()]
    assert 5 <= sum("(%HESITATION)" in text.split() for text in words) <= 25
    assert not any({"UH", "UM"} & {*text.split()} for text in words)
    labels = read_phonemes(next(folder.rglob("phonemes.csv")))
    assert labels.keys() >= rows.keys()
    for uid, row in rows.items():
        samples = read_audio(row["wav"], 8000, row["start"], row["stop"], row["channel"]).abs()
        loud = (samples > 0.05 * samples.max()).nonzero()[0] / 8000
        assert abs(loud - labels[uid][0].start) < 0.1


def test_voices_and_sentences_of_the_twin_are_unseen():
    plan = synthesis._plan(corpus.twin, {"train": 500, "dev": 30, "hub5e_00": 60}, 1, (115, 170))
    for key in ("text", "variant"):
        seen = [{row[key] for row in plan if row["split"] == split} for split in FIRST]
        assert sum(map(len, seen)) == len(set.union(*seen))
    assert len({row["path"] for row in plan}) == 590


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    def contents(folder, **options):
        corpus.synthesize(folder, n_train=3, n_dev=2, n_test=2, **options)
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    one, two = (contents(tmp_path / str(workers), workers=workers) for workers in (1, 3))
    assert one == two
    assert one != contents(tmp_path / "other", seed=5)
