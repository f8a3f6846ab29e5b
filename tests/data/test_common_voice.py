import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.common_voice import COLUMNS, RELEASE, CommonVoice
from speechbrain_recursive.data.dataset import make_dataset
from speechbrain_recursive.data.french import normalize
from speechbrain_recursive.data.grammar import word_types
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError

SPLITS = ("train", "dev", "test")
prepare = CommonVoice().prepare


def folder_of(corpus):
    return corpus / RELEASE / "fr"


def table_of(corpus, split):
    """The rows of a table: lists of fields, the names of columns first."""
    lines = (folder_of(corpus) / f"{split}.tsv").read_text("utf-8").split("\n")
    return [line.split("\t") for line in lines[:-1]]


def write_table(corpus, split, rows):
    path = folder_of(corpus) / f"{split}.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def change(corpus, split, line, column, value):
    """Change one field of a table; returns the table's path."""
    rows = table_of(corpus, split)
    rows[line - 1][COLUMNS.index(column)] = value
    return write_table(corpus, split, rows)


def contents(manifests):
    return {split: path.read_text("utf-8") for split, path in manifests.items()}


def test_manifests_hold_the_corpus(common_voice, tmp_path):
    manifests = prepare(common_voice, tmp_path)
    assert list(manifests) == list(SPLITS)
    for split, path in manifests.items():
        rows = read_manifest(path)
        assert list(rows) == sorted(rows)
        head, *table = table_of(common_voice, split)
        assert head == COLUMNS
        assert {f"{name}.mp3" for name in rows} == {fields[1] for fields in table}
        for client, clip, sentence, *_ in table:
            row = rows[Path(clip).stem]
            assert row["wav"] == str((folder_of(common_voice) / "clips" / clip).resolve())
            assert (row["spk_id"], row["wrd"]) == (client, normalize(sentence))
            assert row["duration"] == pytest.approx(soundfile.info(row["wav"]).duration, abs=1e-4)
    assert (tmp_path / "rejected.txt").read_text() == ""


def test_all_ways_to_name_the_folder(common_voice, tmp_path):
    release, language = common_voice / RELEASE, folder_of(common_voice)
    found = [contents(prepare(folder, tmp_path)) for folder in (common_voice, release, language)]
    assert found[0] == found[1] == found[2]


def test_what_is_missing_is_named(own_common_voice, tmp_path):
    where = rf"no Common Voice at {tmp_path}: .*fr/clips/.*form: get {RELEASE} .*https://commonvoice"
    for call in (lambda: prepare(tmp_path, tmp_path / "save"), lambda: CommonVoice().download(tmp_path)):
        with pytest.raises(UserError, match=where) as raised:
            call()
        assert "\n" not in str(raised.value)
    CommonVoice().download(own_common_voice)  # there is nothing to do
    (folder_of(own_common_voice) / "dev.tsv").unlink()
    with pytest.raises(UserError, match=r"fr/dev\.tsv does not exist"):
        prepare(own_common_voice, tmp_path / "save")
    CommonVoice(dev_splits=["test"]).prepare(own_common_voice, tmp_path / "save")


def test_of_several_releases_one_must_be_named(own_common_voice, tmp_path):
    other = own_common_voice / "cv-corpus-8.0-2022-01-19"
    shutil.copytree(own_common_voice / RELEASE, other)
    with pytest.raises(UserError, match=r"holds several corpora, .*-7.*, .*-8.*--data_folder"):
        prepare(own_common_voice, tmp_path / "save")
    assert prepare(other, tmp_path / "save")["dev"].is_file()


@pytest.mark.parametrize("column", ["client_id", "path", "sentence"])
def test_a_table_without_a_column_is_named(own_common_voice, tmp_path, column):
    i = COLUMNS.index(column)
    rows = [row[:i] + row[i + 1 :] for row in table_of(own_common_voice, "dev")]
    table = write_table(own_common_voice, "dev", rows)
    with pytest.raises(UserError, match=f"{table}, line 1: no column {column}$"):
        prepare(own_common_voice, tmp_path / "save")
    assert not (tmp_path / "save").exists()


def test_columns_may_have_another_order_and_others_may_be_missing(own_common_voice, tmp_path):
    before = contents(prepare(own_common_voice, tmp_path))
    for split in SPLITS:
        rows = [[row[2], row[0], "?", row[1]] for row in table_of(own_common_voice, split)]
        write_table(own_common_voice, split, rows)
    assert contents(prepare(own_common_voice, tmp_path)) == before


def test_an_empty_table_is_named(own_common_voice, tmp_path):
    table = write_table(own_common_voice, "dev", [COLUMNS])
    with pytest.raises(UserError, match=f"{table} has no sentences"):
        prepare(own_common_voice, tmp_path)
    table = write_table(own_common_voice, "dev", [])
    with pytest.raises(UserError, match=f"{table}, line 1: no column client_id, path, sentence$"):
        prepare(own_common_voice, tmp_path)


def test_a_torn_row_is_named(own_common_voice, tmp_path):
    rows = table_of(own_common_voice, "train")
    rows[4] = rows[4][:3]
    table = write_table(own_common_voice, "train", rows)
    with pytest.raises(UserError, match=f"{table}, line 5: 3 columns, but line 1 has 10"):
        prepare(own_common_voice, tmp_path)


def test_a_missing_clip_is_named(own_common_voice, tmp_path):
    table = change(own_common_voice, "train", 4, "path", "other.mp3")
    with pytest.raises(UserError, match=f"{table}, line 4: .* other.mp3, is not in clips/"):
        prepare(own_common_voice, tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_clip_that_occurs_twice_is_named(own_common_voice, tmp_path, split):
    clip = table_of(own_common_voice, "train")[1][1]
    table = change(own_common_voice, split, 3, "path", clip)
    first = folder_of(own_common_voice) / "train.tsv"
    with pytest.raises(UserError, match=f"{table}, line 3: {clip} is also in {first}, line 2"):
        prepare(own_common_voice, tmp_path)


def test_quotes_mean_nothing_in_a_table(own_common_voice, tmp_path):
    change(own_common_voice, "dev", 2, "sentence", '"Non')
    change(own_common_voice, "dev", 3, "sentence", 'Dit-il" "oui"\u2028ici')
    rows = read_manifest(prepare(own_common_voice, tmp_path)["dev"])
    assert sorted(row["wrd"] for row in rows.values()) == ["dit il oui ici", "non"]


@pytest.mark.parametrize("sentence", ["", "…", "« ' »"])
def test_a_sentence_without_words_is_never_dropped_in_silence(own_common_voice, tmp_path, sentence):
    change(own_common_voice, "test", 2, "sentence", sentence)
    with pytest.raises(UserError, match=r"1 of 3 utterances of test .*: empty transcript"):
        prepare(own_common_voice, tmp_path)
    rows = read_manifest(prepare(own_common_voice, tmp_path, bad_test_audio="empty")["test"])
    assert sorted(bool(row["wrd"]) for row in rows.values()) == [False, True, True]


def test_short_sentences_of_dev_and_test_stay(own_common_voice, tmp_path):
    for split in ("dev", "test"):
        change(own_common_voice, split, 2, "sentence", "Oui")
    manifests = prepare(own_common_voice, tmp_path)
    for split, count in (("dev", 2), ("test", 3)):
        words = [row["wrd"] for row in read_manifest(manifests[split]).values()]
        assert len(words) == count
        assert "oui" in words


@pytest.mark.parametrize("part", [0, 0.3, 0.9])
def test_a_clip_that_does_not_decode_is_listed(own_common_voice, tmp_path, part):
    clip = folder_of(own_common_voice) / "clips" / table_of(own_common_voice, "dev")[1][1]
    data = clip.read_bytes()
    clip.write_bytes(data[: int(part * len(data))])
    with pytest.raises(UserError, match=rf"1 of 2 utterances of dev .*{clip.name}: (cannot be|cut)"):
        prepare(own_common_voice, tmp_path)
    assert clip.name in (tmp_path / "rejected.txt").read_text()
    rows = read_manifest(prepare(own_common_voice, tmp_path, bad_test_audio="empty")["dev"])
    assert rows[clip.stem]["unreadable"]


def without_length(data):
    """An MP3 as a program writes it that cannot go back: an ID3 tag, and no frame with its length."""
    start = data.index(b"\xff", 4)
    while data[start : start + 2] != data[:2] or data[start + 2] & 0xC != data[2] & 0xC:
        start = data.index(b"\xff", start + 1)
    text = b"Lavf58.29.100"
    frame = b"TSSE" + bytes([0, 0, 0, len(text) + 2, 0, 0, 3]) + text + b"\0"
    return b"ID3\x04\0\0\0\0\0" + bytes([len(frame)]) + frame + data[start:]


@pytest.mark.parametrize("rate", [32000, 48000])
def test_a_clip_whose_length_is_estimated_is_whole(own_common_voice, tmp_path, rate):
    clip = folder_of(own_common_voice) / "clips" / table_of(own_common_voice, "dev")[1][1]
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, int(2.345 * rate))
    soundfile.write(clip, samples, rate, bitrate_mode="CONSTANT", compression_level=0.8)
    clip.write_bytes(without_length(clip.read_bytes()))
    with soundfile.SoundFile(clip) as audio:
        estimate, decoded = audio.frames, len(audio.read())
    assert estimate > decoded, "otherwise this shows nothing"
    manifest = prepare(own_common_voice, tmp_path)["dev"]
    assert read_manifest(manifest)[clip.stem]["duration"] == pytest.approx(decoded / rate, abs=1e-4)
    names = [*read_manifest(manifest)]
    item = make_dataset([manifest], CharacterTokenizer("a"))[names.index(clip.stem)]
    assert len(item["sig"]) == -(-decoded * 16000 // rate)


@pytest.mark.parametrize("rate", [32000, 48000])
def test_clips_are_resampled_to_the_exact_length(own_common_voice, tmp_path, rate):
    clip = folder_of(own_common_voice) / "clips" / table_of(own_common_voice, "dev")[1][1]
    time = np.arange(2 * rate + 7) / rate
    tones = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.3 * np.sin(2 * np.pi * 10000 * time)
    soundfile.write(clip, tones, rate)
    manifest = prepare(own_common_voice, tmp_path)["dev"]
    names = [*read_manifest(manifest)]
    assert read_manifest(manifest)[clip.stem]["duration"] == pytest.approx(len(time) / rate, abs=1e-4)
    signal = make_dataset([manifest], CharacterTokenizer("a"))[names.index(clip.stem)]["sig"].numpy()
    assert len(signal) == -(-len(time) * 16000 // rate)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(signal)) / 16000)
    error = (signal - expected)[400:-400]
    assert np.sqrt(np.mean(error**2)) < 0.02, "10 kHz would be heard as 6 kHz"


def test_second_call_does_nothing_until_a_table_changes(own_common_voice, tmp_path):
    def written():
        manifests = prepare(own_common_voice, tmp_path)
        return [path.stat().st_mtime_ns for path in manifests.values()]

    before = written()
    assert written() == before
    change(own_common_voice, "test", 2, "sentence", "Une autre phrase, plus longue que la première.")
    assert written() != before


def test_the_twin_has_the_layout_of_the_corpus(common_voice, tmp_path):
    folder = folder_of(common_voice)
    types, speakers = {*map(normalize, word_types("fr"))}, {}
    for split, count in zip(SPLITS, (8, 2, 3), strict=True):
        with open(folder / f"{split}.tsv", encoding="utf-8", newline="") as file:
            rows = [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
        assert len(rows) == count
        speakers[split] = {row["client_id"] for row in rows}
        for row in rows:
            assert len(bytes.fromhex(row["client_id"])) == hashlib.sha512().digest_size
            assert row["locale"] == "fr"
            assert row["sentence"][0].isupper()
            assert row["sentence"].endswith(".")
            assert "'" not in row["sentence"]
            assert {*normalize(row["sentence"]).split()} <= {*" ".join(types).split()}
            info = soundfile.info(folder / "clips" / row["path"])
            assert (info.samplerate, info.channels, info.format) == (48000, 1, "MP3")
            assert 0.8 < info.duration < 6
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values()))


def test_the_usual_splits_and_the_metric():
    corpus = CommonVoice()
    assert (corpus.train_splits, corpus.dev_splits, corpus.test_splits) == (
        ("train",),
        ("dev",),
        ("test",),
    )
    assert corpus.metric == "wer"
