"""Labels of phonemes: files of them, and which phoneme is spoken when."""

import pytest

from speechbrain_recursive.data.phonemes import Phoneme, phonemes_at, read_phonemes, write_phonemes
from speechbrain_recursive.errors import UserError

HEAD = "ID,start,end,phoneme\n"


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "labels.csv"
        path.write_text(text)
        return read_phonemes(path)

    return read


def test_what_is_written_is_read(tmp_path):
    phonemes = {
        "b": [Phoneme(0.0, 1 / 3, ","), Phoneme(1 / 3, 0.5, '"')],
        "a": [Phoneme(1.0, 2.0, "O~")],
    }
    write_phonemes(tmp_path / "a.csv", phonemes.items())
    found = read_phonemes(tmp_path / "a.csv")
    assert list(found) == ["b", "a"]
    for uid, expected in phonemes.items():
        assert [one.name for one in found[uid]] == [one.name for one in expected]
        assert [one[:2] for one in found[uid]] == [pytest.approx(one[:2], abs=1e-5) for one in expected]


def test_rows_and_columns_in_any_order(read):
    found = read("phoneme,speaker,end,start,ID\nb,x,0.3,0.2,u\nc,x,9,8,v\na,x,0.2,0.1,u\n")
    assert found == {
        "u": [Phoneme(0.1, 0.2, "a"), Phoneme(0.2, 0.3, "b")],
        "v": [Phoneme(8.0, 9.0, "c")],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column ID, start, end, phoneme"),
        ("ID,start,end,phone\n", "line 1: no column phoneme; needed: ID,start,end,phoneme"),
        (HEAD + "u,0,1,a\nu,1,2\n", "line 3: no phoneme"),
        (HEAD + ",0,1,a\n", "line 2: no ID"),
        (HEAD + "u,0,one,a\n", "line 2: start '0' and end 'one' are not two numbers"),
        (HEAD + "u,0.5,0.5,a\n", "line 2: no phoneme lasts from 0.5 to 0.5 s"),
        (HEAD + "u,-1,0.5,a\n", "line 2: no phoneme lasts from -1 to 0.5 s"),
        (HEAD + "u,nan,0.5,a\n", "line 2: no phoneme lasts from nan"),
        (HEAD + "u,0.5,inf,a\n", "line 2: no phoneme lasts from 0.5 to inf"),
        (HEAD + "u,1,2,b\nv,0,9,c\nu,0,1.5,a\n", "line 2: b of u starts before a ends (1.5 s)"),
    ],
)
def test_a_malformed_row_is_named(read, tmp_path, text, said):
    with pytest.raises(UserError) as error:
        read(text)
    assert str(error.value).startswith(f"{tmp_path / 'labels.csv'}, {said}")
    assert "\n" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"no labels of phonemes at .*gone\.csv"):
        read_phonemes(tmp_path / "gone.csv")


def test_every_moment_against_a_search_of_all_phonemes():
    phonemes = [Phoneme(0.1, 0.25, "a"), Phoneme(0.25, 0.4, "b"), Phoneme(0.5, 0.55, "a")]
    times = [k / 100 for k in range(70)]
    expected = [next((name for start, end, name in phonemes if start <= t < end), None) for t in times]
    assert phonemes_at(phonemes, times) == expected
    assert {*expected} == {"a", "b", None}
    assert phonemes_at([], times) == [None] * 70
