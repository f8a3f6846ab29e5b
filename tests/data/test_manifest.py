import pytest

from speechbrain_recursive.data.manifest import read_manifest, write_manifest
from speechbrain_recursive.errors import UserError

ROW = {"ID": "a-1", "duration": 1.25, "wav": "x.flac", "spk_id": "a", "wrd": "W", "unreadable": ""}


def test_odd_text_survives(tmp_path):
    odd = ['$5 AND "QUOTES", COMMAS', "\u00c9T\u00c9", "", "$data_root"]
    rows = [ROW | {"ID": f"a-{i}", "wrd": text} for i, text in enumerate(odd)]
    write_manifest(tmp_path / "m.csv", rows)
    read = read_manifest(tmp_path / "m.csv")
    assert [row["wrd"] for row in read.values()] == odd
    assert read["a-0"]["duration"] == 1.25


def test_a_manifest_of_speechbrain_is_read(tmp_path):
    (tmp_path / "m.csv").write_text("ID,duration,wav,spk_id,wrd\na,2.0,a.wav,s,HI\n")
    assert read_manifest(tmp_path / "m.csv")["a"]["unreadable"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID,wav,spk_id,wrd\n", "line 1: no column duration"),
        ("", "line 1: no column"),
        ("ID,duration,wav,spk_id,wrd\na,long,a.wav,s,HI\n", "line 2: 'long' is not a duration"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_missing_manifest(tmp_path):
    with pytest.raises(UserError, match="no manifest at"):
        read_manifest(tmp_path / "none.csv")
