import pytest

from speechbrain_recursive.data.manifest import read_manifest, write_manifest
from speechbrain_recursive.errors import UserError

ROW = {"ID": "a-1", "duration": 1.25, "wav": "x.flac", "spk_id": "a", "wrd": "W", "unreadable": ""}
PART = "ID,duration,wav,spk_id,wrd,start,stop,channel\n"


def test_odd_text_survives(tmp_path):
    odd = ['$5 AND "QUOTES", COMMAS', "\u00c9T\u00c9", "", "$data_root"]
    rows = [ROW | {"ID": f"a-{i}", "wrd": text} for i, text in enumerate(odd)]
    write_manifest(tmp_path / "m.csv", rows)
    read = read_manifest(tmp_path / "m.csv")
    assert [row["wrd"] for row in read.values()] == odd
    assert read["a-0"]["duration"] == 1.25


def test_a_manifest_of_speechbrain_is_read(tmp_path):
    (tmp_path / "m.csv").write_text("ID,duration,wav,spk_id,wrd\na,2.0,a.wav,s,HI\n")
    row = read_manifest(tmp_path / "m.csv")["a"]
    assert row["unreadable"] == ""
    assert row["start"] is row["stop"] is row["channel"] is None


def test_segments_and_channels(tmp_path):
    parts = [{"start": 12.3456789, "stop": 14.0, "channel": 0}, {"start": 0.0, "channel": 1}, {}]
    write_manifest(tmp_path / "m.csv", [ROW | part | {"ID": str(i)} for i, part in enumerate(parts)])
    rows = read_manifest(tmp_path / "m.csv").values()
    found = [tuple(row[key] for key in ("start", "stop", "channel")) for row in rows]
    assert found == [(12.3456789, 14.0, 0), (0.0, None, 1), (None, None, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID,wav,spk_id,wrd\n", "line 1: no column duration"),
        ("", "line 1: no column"),
        ("ID,duration,wav,spk_id,wrd\na,long,a.wav,s,HI\n", "line 2: 'long' is not a duration"),
        ("ID,duration,wav,spk_id,wrd\na,,a.wav,s,HI\n", "line 2: '' is not a duration"),
        (PART + "a,1,a.wav,s,HI,now,,\n", "line 2: 'now' is not a start"),
        (PART + "a,1,a.wav,s,HI,,,left\n", "line 2: 'left' is not a channel"),
        (PART + "a,1,a.wav,s,HI,2.0,1.0,\n", "line 2: no start 2.0, stop 1.0 and channel None"),
        (PART + "a,1,a.wav,s,HI,-2.0,1.0,\n", "line 2: no start -2.0"),
        (PART + "a,1,a.wav,s,HI,0,nan,\n", "line 2: no start 0.0, stop nan"),
        (PART + "a,1,a.wav,s,HI,,,-1\n", "line 2: .* channel -1"),
        ("ID,duration,wav,spk_id,wrd\na,1,a.wav\n", "line 2: too few columns"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_missing_manifest(tmp_path):
    with pytest.raises(UserError, match="no manifest at"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder, not a file"):
        read_manifest(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"latin\.csv is not UTF-8 text"):
        read_manifest(tmp_path / "latin.csv")
