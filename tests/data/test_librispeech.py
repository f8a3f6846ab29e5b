import csv
import re
import shutil

import pytest
import soundfile

from speechbrain_recursive.data import prepare as shared
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError

TRAIN, DEV, TEST = "train-clean-100", "dev-clean", "test-clean"
prepare = LibriSpeech([TRAIN], [DEV], [TEST]).prepare


def audio_of(corpus, split):
    return sorted(corpus.glob(f"LibriSpeech/{split}/*/*/*.flac"))


def transcript_of(corpus, split):
    return sorted(corpus.glob(f"LibriSpeech/{split}/*/*/*.trans.txt"))[0]


def cut(path, part=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def lengthen(corpus, count):
    """Make the first training chapter ``count`` utterances long."""
    audio, transcript = audio_of(corpus, TRAIN)[0], transcript_of(corpus, TRAIN)
    prefix = audio.stem.rpartition("-")[0]
    for i in range(1, count):
        shutil.copy(audio, audio.with_name(f"{prefix}-{i:04d}.flac"))
        with open(transcript, "a") as lines:
            lines.write(f"{prefix}-{i:04d} WORD\n")


def test_manifests_hold_the_corpus(corpus, tmp_path):
    manifests = prepare(corpus, tmp_path)
    assert list(manifests) == [TRAIN, DEV, TEST]
    for split, path in manifests.items():
        rows = read_manifest(path)
        audio = audio_of(corpus, split)
        assert list(rows) == [file.stem for file in audio]
        texts = "".join(p.read_text() for p in corpus.glob(f"LibriSpeech/{split}/*/*/*.txt"))
        for file, (name, row) in zip(audio, rows.items(), strict=True):
            assert row["wav"] == str(file.resolve())
            assert row["duration"] == pytest.approx(soundfile.info(file).duration, abs=1e-4)
            assert row["spk_id"] == name.split("-")[0]
            assert f"{name} {row['wrd']}\n" in texts
            assert row["unreadable"] == ""
    with open(manifests[TRAIN], newline="") as file:
        assert next(csv.reader(file))[:5] == ["ID", "duration", "wav", "spk_id", "wrd"]
    assert (tmp_path / "rejected.txt").read_text() == ""


def test_order_is_that_of_names(own_corpus, tmp_path):
    lengthen(own_corpus, 5)
    transcript = transcript_of(own_corpus, TRAIN)
    transcript.write_text("".join(reversed(transcript.read_text().splitlines(keepends=True))))
    names = list(read_manifest(prepare(own_corpus, tmp_path)[TRAIN]))
    assert names == sorted(names)
    assert len(names) == 12


def test_both_ways_to_name_the_folder(corpus, tmp_path):
    outer = prepare(corpus, tmp_path / "outer")
    inner = prepare(corpus / "LibriSpeech", tmp_path / "inner")
    assert outer[TEST].read_text() == inner[TEST].read_text()


def test_second_call_does_nothing_until_something_changes(own_corpus, tmp_path, monkeypatch):
    def again(**options):
        looked = []
        monkeypatch.setattr(shared, "_inspect", lambda *args: looked.append(args) or inspect(*args))
        manifests = prepare(own_corpus, tmp_path / "save", **options)
        return bool(looked), manifests

    inspect = shared._inspect
    assert again()[0]
    looked, manifests = again()
    assert not looked
    assert again(bad_test_audio="empty")[0], "an option"
    assert again()[0], "the option again"
    manifests[DEV].unlink()
    assert again()[0], "a manifest that is gone"
    transcript = transcript_of(own_corpus, TEST)
    transcript.write_text(transcript.read_text()[:-2] + "X\n")
    rebuilt, manifests = again()
    assert rebuilt, "a transcript of the same length"
    assert any(row["wrd"].endswith("X") for row in read_manifest(manifests[TEST]).values())


@pytest.mark.parametrize("folder", ["nowhere", "corpus"])
def test_missing_corpus_or_split_says_where_and_how(corpus, tmp_path, folder):
    data_folder = corpus if folder == "corpus" else tmp_path / "nowhere"
    with pytest.raises(UserError) as error:
        LibriSpeech([TRAIN], [DEV], ["test-other"]).prepare(data_folder, tmp_path / "save")
    message = str(error.value)
    assert str(data_folder / "LibriSpeech" / ("test-other" if folder == "corpus" else TRAIN)) in message
    assert "--download True" in message
    assert "openslr.org/12" in message
    assert "\n" not in message
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no-such-place WORDS", "line 2: expected '{chapter}-<number> WORDS', found 'no-such-place"),
        ("WORDS ONLY", "line 2: expected"),
        ("{chapter}-0000 AGAIN", "line 2: {chapter}-0000 has two transcripts"),
        ("{chapter}-0077 WORDS", "line 2: the audio of this transcript, .*{chapter}-0077.flac, is"),
    ],
)
def test_bad_transcript_lines_are_named(own_corpus, tmp_path, line, message):
    transcript = transcript_of(own_corpus, TRAIN)
    chapter = transcript.name.removesuffix(".trans.txt")
    with open(transcript, "a") as lines:
        lines.write(line.format(chapter=chapter) + "\n")
    with pytest.raises(UserError, match=f"{transcript}, " + message.format(chapter=chapter)):
        prepare(own_corpus, tmp_path / "save")
    assert not (tmp_path / "save").exists()


def test_audio_without_transcript_is_named(own_corpus, tmp_path):
    audio = audio_of(own_corpus, TEST)[1]
    extra = audio.with_name(audio.name.replace("0000", "0042"))
    shutil.copy(audio, extra)
    with pytest.raises(UserError, match=f"{extra} has no transcript"):
        prepare(own_corpus, tmp_path / "save")
    extra.unlink()
    transcript = audio.with_name(audio.stem.rpartition("-")[0] + ".trans.txt")
    transcript.unlink()
    with pytest.raises(UserError, match=f"{audio} has no transcript: {transcript}"):
        prepare(own_corpus, tmp_path / "save")


def test_text_that_is_not_utf8_is_named(own_corpus, tmp_path):
    transcript = transcript_of(own_corpus, DEV)
    transcript.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=f"{transcript} is not UTF-8"):
        prepare(own_corpus, tmp_path / "save")


def test_training_goes_without_one_percent(own_corpus, tmp_path):
    lengthen(own_corpus, 193)  # 200 utterances with the seven others
    audio = audio_of(own_corpus, TRAIN)
    cut(audio[3])
    audio[5].write_bytes(b"")
    manifests = prepare(own_corpus, tmp_path)
    rows = read_manifest(manifests[TRAIN])
    assert len(rows) == 198
    assert not {audio[3].stem, audio[5].stem} & rows.keys()
    report = (tmp_path / "rejected.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in report] == [str(audio[3]), str(audio[5])]
    cut(audio[7])
    with pytest.raises(UserError, match=rf"3 of 200 utterances of {TRAIN} .* more than 1%"):
        prepare(own_corpus, tmp_path)
    assert len((tmp_path / "rejected.txt").read_text().splitlines()) == 3


def corrupt_middle(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 100] = bytes(100)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "cannot be decoded"),
        (corrupt_middle, "cannot be decoded"),
        (lambda path: path.write_bytes(b""), "cannot be decoded"),
        (lambda path: soundfile.write(path, [0.0] * 50, 16000), "lasts 0.00 s"),
        (lambda path: soundfile.write(path, [], 16000), "cannot be decoded"),
    ],
)
@pytest.mark.parametrize("split", [DEV, TEST])
def test_nothing_is_left_out_of_dev_and_test(own_corpus, tmp_path, damage, reason, split):
    audio = audio_of(own_corpus, split)
    damage(audio[1])
    with pytest.raises(UserError, match=f"1 of {len(audio)} utterances of {split}.*{reason}"):
        prepare(own_corpus, tmp_path / "save")
    manifests = prepare(own_corpus, tmp_path / "save", bad_test_audio="empty")
    rows = read_manifest(manifests[split])
    assert list(rows) == [path.stem for path in audio]
    assert reason in rows[audio[1].stem]["unreadable"]
    assert rows[audio[1].stem]["wrd"], "the words that count as deletions"
    assert [bool(row["unreadable"]) for row in rows.values()].count(True) == 1


def test_empty_transcripts(own_corpus, tmp_path):
    transcript = transcript_of(own_corpus, TEST)
    name = transcript.read_text().split()[0]
    transcript.write_text(f"{name}\n")
    with pytest.raises(UserError, match="empty transcript"):
        prepare(own_corpus, tmp_path)
    manifests = prepare(own_corpus, tmp_path, bad_test_audio="empty")
    row = read_manifest(manifests[TEST])[name]
    assert row["wrd"] == ""
    assert row["unreadable"] == "", "its audio is sound"
    assert row["duration"] > 0.8


def test_too_long_is_reported(own_corpus, tmp_path):
    soundfile.write(audio_of(own_corpus, TEST)[0], [0.0] * 641000, 16000)
    with pytest.raises(UserError, match=r"lasts 40\.06 s, which is not within 0\.1 to 40 s"):
        prepare(own_corpus, tmp_path)


def test_option_is_checked(corpus, tmp_path):
    with pytest.raises(UserError, match="bad_test_audio must be 'refuse' or 'empty', not 'skip'"):
        prepare(corpus, tmp_path, bad_test_audio="skip")


def transcripts(folder, split):
    lines = [p.read_text() for p in sorted(folder.glob(f"LibriSpeech/{split}/*/*/*.trans.txt"))]
    return [line.split(" ", 1) for line in "".join(lines).splitlines()]


def test_the_twin_has_the_layout_of_the_corpus(corpus):
    for split, count in zip(LibriSpeech.twin.splits, (8, 2, 3), strict=True):
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


def test_the_usual_splits():
    corpus = LibriSpeech()
    assert corpus.train_splits == ("train-clean-100", "train-clean-360", "train-other-500")
    assert (corpus.dev_splits, corpus.test_splits) == (("dev-clean",), ("test-clean", "test-other"))
    assert {*corpus.splits} < corpus.md5.keys()
    assert corpus.units("A CAB") == ["A", "CAB"]
