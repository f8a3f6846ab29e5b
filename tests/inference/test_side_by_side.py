"""Models side by side hear the same audio, and one of them is grouped."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.side_by_side import (
    common_audio,
    measure_layers,
    model_to_group,
    open_side_by_side,
)


def model(layers, passes=(), audio=None):
    return SimpleNamespace(labels=[str(i) for i in range(layers)], passes=list(passes), audio=audio)


def test_audio_is_that_of_the_first_that_has_some(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "speech.wav").touch()
    models = [model(4), model(4, audio=tmp_path / "a"), model(4, audio=tmp_path / "b")]
    assert common_audio(models) == (str(tmp_path / "a"), [str(tmp_path / "a/speech.wav")])
    assert common_audio(models, tmp_path / "b")[1] == [str(tmp_path / "b/speech.wav")]
    with pytest.raises(UserError, match="--audio is needed"):
        common_audio(models[:1])
    with pytest.raises(UserError, match="at least one utterance is needed, got 0"):
        common_audio(models, limit=0)


def test_each_model_is_measured_on_all_files(trained):
    models = open_side_by_side([trained], loops=2)
    _, files = common_audio(models.values())
    found = measure_layers(models, files, lambda outputs: [len(each) for each in outputs])
    assert found == {str(trained): [6] * len(files)}
    assert len(files) == 2


def test_names(trained, tmp_path):
    (tmp_path / "other").symlink_to(trained)
    assert list(open_side_by_side([trained])) == [str(trained)]
    with pytest.raises(UserError, match="is named twice"):
        open_side_by_side([trained, Path(tmp_path / "other")])


def test_the_first_model_without_loops_is_grouped():
    models = {"cycle": model(18, [9]), "teacher": model(18), "baseline": model(9)}
    assert model_to_group(models) == "teacher"
    assert model_to_group(models, 7, 9) == "teacher"
    loops = {"cycle": models["cycle"]}
    assert model_to_group(loops) is None
    for choice in ((7, None), (None, 9)):
        with pytest.raises(UserError, match="all models have loops; name a teacher as well"):
            model_to_group(loops, *choice)
    for choice, said in (((17, None), "no linguistic group"), ((7, 5), "student of 5 layers")):
        with pytest.raises(UserError, match=said):
            model_to_group(models, *choice)
