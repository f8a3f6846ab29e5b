import re
import shutil
import tarfile

import pytest
import soundfile

from speechbrain_recursive.data.aishell import TRANSCRIPT, Aishell1
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError

SPLITS = ("train", "dev", "test")
prepare = Aishell1().prepare


def transcript_of(corpus):
    return corpus / "data_aishell" / TRANSCRIPT


def audio_of(corpus, split):
    return sorted(corpus.glob(f"data_aishell/wav/{split}/*/*.wav"))


def pack(corpus):
    """Put every speaker into a tarball in ``wav``, as the corpus arrives; returns the tarballs."""
    wav = corpus / "data_aishell" / "wav"
    for speaker in sorted(wav.glob("*/*/")):
        with tarfile.open(wav / f"{speaker.name}.tar.gz", "w:gz") as members:
            members.add(speaker, f"./{speaker.relative_to(wav)}")
    for split in SPLITS:
        shutil.rmtree(wav / split)
    return sorted(wav.glob("*.tar.gz"))


def contents(manifests):
    return {split: path.read_text() for split, path in manifests.items()}


def test_manifests_hold_the_corpus(aishell, tmp_path):
    manifests = prepare(aishell, tmp_path)
    assert list(manifests) == list(SPLITS)
    texts = dict(line.split(" ", 1) for line in transcript_of(aishell).read_text("utf-8").splitlines())
    for split, path in manifests.items():
        rows = read_manifest(path)
        audio = audio_of(aishell, split)
        assert list(rows) == [file.stem for file in audio]
        for file, (name, row) in zip(audio, rows.items(), strict=True):
            assert row["wav"] == str(file.resolve())
            assert row["spk_id"] == file.parent.name
            assert row["wrd"] == texts[name].replace(" ", "")
            assert row["duration"] > 1
    assert (tmp_path / "rejected.txt").read_text() == ""


def test_tarballs_are_unpacked_and_stay(aishell, own_aishell, tmp_path):
    before = contents(prepare(own_aishell, tmp_path / "save"))
    tarballs = {path: path.stat() for path in pack(own_aishell)}
    assert contents(prepare(own_aishell, tmp_path / "again")) == before
    assert {path: path.stat().st_mtime_ns for path in tarballs} == {
        path: status.st_mtime_ns for path, status in tarballs.items()
    }
    assert not (own_aishell / "data_aishell/wav/.unpacking").exists()


def test_unpacking_goes_on_where_it_stopped(own_aishell, tmp_path, monkeypatch):
    before = contents(prepare(own_aishell, tmp_path / "save"))
    tarballs = pack(own_aishell)
    opened = []

    def open_until(path, *args, **kwargs):
        opened.append(path)
        if len(opened) == 4:
            raise KeyboardInterrupt
        return unpatched(path, *args, **kwargs)

    unpatched = tarfile.open
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", open_until)
        with pytest.raises(KeyboardInterrupt):
            prepare(own_aishell, tmp_path / "save")
    assert contents(prepare(own_aishell, tmp_path / "again")) == before
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)  # would fail if anything were unpacked again
        prepare(own_aishell, tmp_path / "save")
    assert opened == tarballs[:4]


@pytest.mark.parametrize("part", [0, 0.5, 0.9])
def test_a_damaged_tarball_is_named(own_aishell, tmp_path, part):
    tarball = pack(own_aishell)[2]
    data = tarball.read_bytes()
    tarball.write_bytes(data[: int(part * len(data))])
    for _ in range(2):
        with pytest.raises(UserError, match=f"{tarball} cannot be unpacked"):
            prepare(own_aishell, tmp_path / "save")
    tarball.write_bytes(data)
    prepare(own_aishell, tmp_path / "save")


def test_both_ways_to_name_the_folder(aishell, tmp_path):
    outer = prepare(aishell, tmp_path / "outer")
    assert contents(outer) == contents(prepare(aishell / "data_aishell", tmp_path / "inner"))


def test_second_call_does_nothing_until_a_transcript_changes(own_aishell, tmp_path):
    def written():
        manifests = prepare(own_aishell, tmp_path / "save")
        return manifests, [path.stat().st_mtime_ns for path in manifests.values()]

    assert written() == written()
    manifests, before = written()
    transcript = transcript_of(own_aishell)
    transcript.write_text(transcript.read_text("utf-8")[:-2] + "好\n", encoding="utf-8")
    assert written()[1] != before
    assert list(read_manifest(manifests["test"]).values())[-1]["wrd"].endswith("好")


def test_what_is_missing_is_named(own_aishell, tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(
        UserError, match=rf"{nowhere}/data_aishell/wav .*--download True .*openslr.org/33"
    ):
        prepare(nowhere, tmp_path / "save")
    shutil.rmtree(own_aishell / "data_aishell/wav/dev")
    with pytest.raises(UserError, match=r"data_aishell/wav/dev holds no <speaker>/\*\.wav"):
        prepare(own_aishell, tmp_path / "save")
    transcript_of(own_aishell).unlink()
    with pytest.raises(UserError, match=f"no transcripts at {transcript_of(own_aishell)}: unpack"):
        prepare(own_aishell, tmp_path / "save")
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("BAC009S0999W0001 好", "line 14: the audio of this transcript, BAC009S0999W0001.wav, is in no"),
        ("{known} 好", "line 14: {known} has two transcripts"),
        ("\n好", "line 14: expected"),
    ],
)
def test_bad_transcript_lines_are_named(own_aishell, tmp_path, line, message):
    known = audio_of(own_aishell, "train")[0].stem
    with open(transcript_of(own_aishell), "a", encoding="utf-8") as lines:
        lines.write(line.format(known=known) + "\n")
    with pytest.raises(UserError, match=f"{transcript_of(own_aishell)}, {message.format(known=known)}"):
        prepare(own_aishell, tmp_path / "save")
    assert not (tmp_path / "save").exists()


def test_audio_of_the_same_name_is_refused(own_aishell, tmp_path):
    audio = audio_of(own_aishell, "train")[0]
    other = audio_of(own_aishell, "test")[0].with_name(audio.name)
    shutil.copy(audio, other)
    with pytest.raises(UserError, match=f"{other}: there is other audio of the same name"):
        prepare(own_aishell, tmp_path / "save")


def test_audio_without_transcript_is_reported(own_aishell, tmp_path):
    audio = audio_of(own_aishell, "test")[0]
    for i in range(900, 1100):
        shutil.copy(audio, audio.with_name(f"{audio.stem[:-4]}{i:04d}.wav"))
    with open(transcript_of(own_aishell), "a", encoding="utf-8") as lines:
        lines.writelines(f"{audio.stem[:-4]}{i:04d} 好\n" for i in range(901, 1100))
    rows = read_manifest(prepare(own_aishell, tmp_path)["test"])
    assert len(rows) == 202
    silent = audio.with_name(f"{audio.stem[:-4]}0900.wav")
    assert (tmp_path / "rejected.txt").read_text() == f"{silent}: no transcript\n"


def test_bad_test_audio(own_aishell, tmp_path):
    audio = audio_of(own_aishell, "dev")[0]
    audio.write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 2 utterances of dev .*cannot be decoded"):
        prepare(own_aishell, tmp_path)
    rows = read_manifest(prepare(own_aishell, tmp_path, bad_test_audio="empty")["dev"])
    assert rows[audio.stem]["unreadable"]


def test_the_twin_has_the_layout_of_the_corpus(aishell):
    corpus = aishell / "data_aishell"
    lines = (
        (corpus / "transcript" / "aishell_transcript_v0.8.txt").read_text(encoding="utf-8").splitlines()
    )
    texts = dict(line.split(" ", 1) for line in lines)
    assert len(texts) == len(lines) == 13
    for split, count in zip(SPLITS, (8, 2, 3), strict=True):
        audio = sorted(corpus.glob(f"wav/{split}/*/*.wav"))
        assert len(audio) == count
        for path in audio:
            assert re.fullmatch(r"BAC009(S\d{4})W\d{4}", path.stem)[1] == path.parent.name
            assert all("\u4e00" <= c <= "\u9fff" or c == " " for c in texts.pop(path.stem))
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.format) == (16000, 1, "WAV")
            assert 0.8 < info.duration < 6
    assert not texts


def test_the_usual_splits_and_the_metric():
    corpus = Aishell1()
    assert (corpus.train_splits, corpus.dev_splits, corpus.test_splits) == (
        ("train",),
        ("dev",),
        ("test",),
    )
    assert corpus.metric == "cer"
    assert corpus.units(" 山 水火") == ["山", "水", "火"]
