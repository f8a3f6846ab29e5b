import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data import prepare
from speechbrain_recursive.data.aishell import Aishell1
from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.common_voice import CommonVoice
from speechbrain_recursive.data.dataset import make_dataset
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.prepare import build_manifests, listing, transcripts
from speechbrain_recursive.data.switchboard import Switchboard
from speechbrain_recursive.errors import UserError


@pytest.fixture
def build(tmp_path):
    """``build(count, {i: fields})``: prepare that many utterances, some with fields of their own."""
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)

    def run(count, changes, changed=("train", "dev", "test"), bad_test_audio="refuse"):
        def row(i, split):
            row = {"ID": f"{i:03}", "wav": str(tmp_path / "a.wav"), "spk_id": "s", "wrd": "A"}
            return row | (changes.get(i, {}) if split in changed else {})

        strict = {"train": False, "dev": True, "test": True}
        rows = {split: [row(i, split) for i in range(count)] for split in strict}
        # What changes stands for a file that has changed, so that each call looks again.
        return build_manifests(tmp_path / "save", [str(changes)], lambda: rows, strict, bad_test_audio)

    return run


def test_audio_without_transcript_is_left_out_and_reported(build, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        manifests = build(100, {7: {"wrd": None, "wav": "silent.wav"}})
    for split, path in manifests.items():
        rows = read_manifest(path)
        assert len(rows) == 99
        assert "007" not in rows
        assert f"1 of 100 utterances of {split}" in caplog.text
    assert (tmp_path / "save/rejected.txt").read_text() == "silent.wav: no transcript\n" * 3


@pytest.mark.parametrize("split", ["train", "dev"])
def test_no_more_than_one_percent_may_lack_a_transcript(build, tmp_path, split):
    missing = {3: {"wrd": None}, 4: {"wrd": None}}
    with pytest.raises(
        UserError, match=rf"2 of 100 utterances of {split} .*, more than 1%; .*no transcript"
    ):
        build(100, missing, [split])
    assert not list((tmp_path / "save").glob("*.csv"))


def test_a_bad_utterance_beside_one_without_transcript(build):
    changes = {3: {"wrd": None}, 4: {"wrd": ""}}
    with pytest.raises(UserError, match=r"1 of 200 utterances of dev .*: empty transcript; .*deletions"):
        build(200, changes)
    manifests = build(200, changes, bad_test_audio="empty")
    assert [len(read_manifest(path)) for path in manifests.values()] == [198, 199, 199]


@pytest.fixture
def call(build, tmp_path):
    """The fields of a segment of a 3-second file of two channels, of which only one has sound."""
    samples = np.zeros((24000, 2))
    samples[:, 1] = np.random.default_rng(0).uniform(-1, 1, 24000)
    soundfile.write(tmp_path / "call.wav", samples, 8000)

    def segment(start, stop, channel):
        wav = str(tmp_path / "call.wav")
        return {"wav": wav, "start": start, "stop": stop, "channel": channel}

    return segment


def test_a_segment_has_its_own_duration_and_is_read_alone(build, call, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "MAX_DURATION", 1.0)  # the file lasts longer
    manifests = build(3, {0: call(0.5, 1.25, 1), 2: call(2.5, None, 0)})
    rows = read_manifest(manifests["dev"])
    assert [row["duration"] for row in rows.values()] == [0.75, 0.5, 0.5]
    assert [(row["start"], row["stop"], row["channel"]) for row in rows.values()] == [
        (0.5, 1.25, 1),
        (None, None, None),
        (2.5, None, 0),
    ]
    item = make_dataset([manifests["dev"]], CharacterTokenizer("A"), sample_rate=8000)[0]
    samples, _ = soundfile.read(tmp_path / "call.wav", dtype="float32")
    np.testing.assert_array_equal(item["sig"], samples[4000:10000, 1])
    assert item["sig"].abs().max() > 0.5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((0.5, 0.55, 1), r"lasts 0\.05 s, which is not within 0\.1 to 40 s"),
        ((2.0, 3.5, 1), r"no segment from 2 s to 3\.5 s in 3\.00 s of audio"),
        ((2.0, 1.0, 1), "no segment from 2 s to 1 s"),
        ((1.0, 2.0, 2), "no channel 2, counted from 0, among 2"),
    ],
)
def test_a_bad_segment_is_named_by_its_id(build, call, tmp_path, fields, reason):
    with pytest.raises(UserError, match=rf"1 of 200 utterances of dev .*call\.wav \(007\): {reason}"):
        build(200, {7: call(*fields)}, ["dev"])
    row = read_manifest(build(200, {7: call(*fields)}, ["dev"], bad_test_audio="empty")["dev"])["007"]
    assert row["unreadable"]
    assert make_dataset([tmp_path / "save/dev.csv"], CharacterTokenizer("A"))[7]["unreadable"] is True


def test_listing_is_sorted_and_takes_what_counts(tmp_path):
    for name in ("b.wav", "a.wav", ".c.wav", "d.txt"):
        (tmp_path / name).write_text(name)
    found = listing([tmp_path, tmp_path / "d.txt"], (".wav",))
    assert [(path, size) for path, size, _ in found] == [
        (str(tmp_path / "a.wav"), 5),
        (str(tmp_path / "b.wav"), 5),
    ]


def test_transcripts_may_end_with_blank_lines_but_hold_none(tmp_path):
    path = tmp_path / "text"
    path.write_text("a ONE  TWO \nb\n\n")
    assert transcripts([path]) == {
        "a": ("ONE  TWO", path, f"{path}, line 1"),
        "b": ("", path, f"{path}, line 2"),
    }
    path.write_text("a ONE\n\nb TWO\n")
    with pytest.raises(UserError, match=f"{path}, line 2: expected .* found nothing"):
        transcripts([path])


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_split_without_a_word_is_refused(build, tmp_path, split):
    changes = {i: {"wrd": " " if i % 2 else ""} for i in range(3)}
    said = "more than 1%" if split == "train" else f"all transcripts of {split} are empty"
    for choice in ("refuse", "empty"):
        with pytest.raises(UserError, match=said):
            build(3, changes, [split], bad_test_audio=choice)
    assert not list((tmp_path / "save").glob("*.csv"))


def test_every_utterance_of_a_test_set_counts(build, tmp_path):
    changes = {0: {"wrd": ""}, 1: {"wrd": "", "wav": "gone.wav"}, 2: {"wav": "gone.wav"}}
    rows = read_manifest(build(4, changes, ["test"], bad_test_audio="empty")["test"])
    assert [(row["wrd"], bool(row["unreadable"])) for row in rows.values()] == [
        ("", False),
        ("", True),
        ("A", True),
        ("A", False),
    ]
    reasons = (tmp_path / "save/rejected.txt").read_text().splitlines()
    assert [reason.partition(": ")[2].partition(" (")[0] for reason in reasons] == [
        "empty transcript",
        "cannot be decoded",
        "cannot be decoded",
    ]


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
def test_audio_that_is_no_numbers_is_unusable(build, tmp_path, value, subtype):
    samples = np.zeros((8000, 2))
    samples[5000, 1] = value
    soundfile.write(tmp_path / "b.wav", samples, 16000, subtype=subtype)
    bad = {3: {"wav": str(tmp_path / "b.wav")}}
    with pytest.raises(UserError, match=r"1 of 200 .* dev .*b\.wav: samples are NaN, infinite or far"):
        build(200, bad)
    manifests = build(200, bad, bad_test_audio="empty")
    assert [len(read_manifest(path)) for path in manifests.values()] == [199, 200, 200]
    assert read_manifest(manifests["test"])["003"]["unreadable"].startswith("samples are NaN")
    other = {3: bad[3] | {"channel": 0}, 4: bad[3] | {"start": 0.0, "stop": 0.3}}
    assert not any(row["unreadable"] for row in read_manifest(build(200, other)["dev"]).values())


def rewritten(path, ending):
    """An audio file in another format, in its place."""
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path.with_suffix(ending), samples, rate)
    path.unlink()


class TestOtherFormats:
    """Audio of a corpus may have been converted; manifests then name the files that are there."""

    @pytest.mark.parametrize(
        ("prepared", "made", "pattern", "endings"),
        [
            (
                LibriSpeech(["train-clean-100"], test_splits=["test-clean"]),
                "librispeech",
                "*.flac",
                [".wav", ".flac"],
            ),
            (Aishell1(), "aishell", "*.wav", [".flac", ".wav"]),
            (CommonVoice(), "common_voice", "*.mp3", [".wav", ".flac"]),
            (Switchboard(dev_conversations=1), "switchboard", "*.sph", [".wav", ".flac"]),
        ],
        ids=["LibriSpeech", "AISHELL-1", "Common Voice", "Switchboard"],
    )
    def test_they_are_found_and_two_of_a_name_are_refused(
        self, prepared, made, pattern, endings, request, tmp_path
    ):
        own = shutil.copytree(request.getfixturevalue(made), tmp_path / "own")
        before = rows_of(prepared.prepare(own, tmp_path / "before"))
        original = sorted(own.rglob(pattern))
        for path in original:
            rewritten(path, endings[0])
        after = rows_of(prepared.prepare(own, tmp_path / "after"))
        assert before.keys() == after.keys()
        for key, row in after.items():
            assert row["wav"] == str(Path(before[key]["wav"]).with_suffix(endings[0]))
            assert row | {"wav": "", "duration": 0} == before[key] | {"wav": "", "duration": 0}
            assert row["duration"] == pytest.approx(before[key]["duration"], abs=1e-3)

        rewritten_one = original[0].with_suffix(endings[0])
        shutil.copy(rewritten_one, rewritten_one.with_suffix(endings[1]))
        with pytest.raises(UserError, match=rf"{original[0].stem}\.\w+.*: remove one|; remove one"):
            prepared.prepare(own, tmp_path / "after")


def rows_of(manifests):
    return {key: row for path in manifests.values() for key, row in read_manifest(path).items()}
