import espeakng_loader
import numpy as np
import pytest

from speechbrain_recursive.data.espeak import Espeak


def test_same_calls_give_same_samples_whatever_was_said_elsewhere():
    first = Espeak("en-us").speak("seven yellow candles", "m1")
    other = Espeak("en-us")
    other.speak("something else", "f4")
    np.testing.assert_array_equal(Espeak("en-us").speak("seven yellow candles", "m1"), first)
    again = other.speak("seven yellow candles", "m1")
    assert again.shape != first.shape or (again != first).any(), "then a copy each is not needed"


def test_rate_pitch_and_language_are_heard():
    def speak(language="en-us", **settings):
        return Espeak(language).speak("seven yellow candles", "m1", **settings)

    assert len(speak(rate=115)) > 1.2 * len(speak(rate=170))
    assert len(speak(pitch=30)) == len(speak(pitch=30))
    assert not np.array_equal(speak(pitch=30)[:5000], speak(pitch=70)[:5000])
    assert not np.array_equal(speak("fr")[:5000], speak()[:5000])
    assert len(Espeak("cmn").speak("\u4f60\u597d")) > 5000


def test_unknown_voice_is_named():
    with pytest.raises(ValueError, match=r"xx\+m1"):
        Espeak("xx").speak("hello", "m1")


def test_data_under_a_path_that_the_library_would_cut(tmp_path, monkeypatch):
    long = tmp_path / ("a" * 90) / ("b" * 90)
    long.mkdir(parents=True)
    (long / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(long / "espeak-ng-data"))
    assert len(Espeak("en-us").speak("hello", "m1")) > 1000
