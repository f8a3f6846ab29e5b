"""Files, folders, patterns and the standard input name audio."""

import io
from pathlib import PurePath
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data.blocks import blocks
from speechbrain_recursive.data.sources import expand, places
from speechbrain_recursive.errors import UserError


@pytest.fixture
def files(tmp_path):
    for name in ("b.wav", "a/c.flac", "a/d.MP3", "a/notes.txt", "a/e/b.ogg"):
        (path := tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    return tmp_path


def names(folder, *paths):
    return [each.label.replace(f"{folder}/", "") for each in expand(paths)]


def test_folders_and_patterns_are_searched_once(files):
    assert names(files, str(files)) == ["a/c.flac", "a/d.MP3", "a/e/b.ogg", "b.wav"]
    both = f"{files}/a/**/*.*[gc]", f"{files}/a", f"{files}/gone.wav"
    assert names(files, *both) == ["a/c.flac", "a/e/b.ogg", "a/d.MP3", "gone.wav"]


def test_places_are_relative_to_what_was_named(files):
    found = expand([f"{files}/a", f"{files}/a/e/*.ogg", f"{files}/b.wav"])
    assert [str(each.place) for each in found] == ["c.flac", "d.MP3", "e/b.ogg", "b.wav"]
    assert places(found) == ["c", "d", "e/b", "b"]
    (files / "a/b.wav").touch()
    with pytest.raises(UserError, match=r"a/b\.wav and \S+/b\.wav would both be written to b\.wav"):
        places(expand([f"{files}/a/b.wav", f"{files}/b.wav"]))


def test_a_folder_without_audio_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no audio files"):
        expand([str(tmp_path)])


def test_the_standard_input_is_audio_or_a_list(files, monkeypatch):
    soundfile.write(wav := io.BytesIO(), np.zeros(320), 16000, format="WAV")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(wav.getvalue())))
    (source,) = expand(["-"])
    assert (source.label, source.place) == ("-", PurePath("stdin"))
    assert sum(map(len, blocks(source.audio))) == 320 == sum(map(len, blocks(source.audio)))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(f"{files}/b.wav\n\n".encode())))
    assert names(files, "-") == ["b.wav"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\xff\xfe\x00nothing")))
    with pytest.raises(UserError, match=r"^- cannot be read as audio"):
        list(blocks(expand(["-"])[0].audio))
