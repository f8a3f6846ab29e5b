import espeakng_loader
import numpy as np
import pytest

from speechbrain_recursive.data import espeak
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


def test_phonemes_do_not_change_the_samples(monkeypatch):
    texts = [
        ("seven yellow candles", "m1"),
        ("the teacher found her six old bottles", "Mike"),
        ("", "m1"),
    ]
    marked = Espeak("en-us")
    spoken = [(marked.speak(*text), marked.phonemes) for text in texts]
    assert [bool(phonemes) for _, phonemes in spoken] == [True, True, False]
    monkeypatch.setattr(espeak, "PHONEME_EVENTS", 0)
    plain = Espeak("en-us")
    for text, (samples, _) in zip(texts, spoken, strict=True):
        np.testing.assert_array_equal(plain.speak(*text), samples)
        assert plain.phonemes == []


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en-us", "the doctor, please", "D @2 d 0 k t 3 p l i: z"),
        ("fr", "le gar\u00e7on", "l @- g a r s O~"),
        ("cmn", "\u8001\u5e08", "l Au s. i."),
        ("fr", "another", "a# n V D 3"),  # in an English voice
    ],
)
def test_phonemes_are_eSpeaks_own_without_stress_pauses_and_changes_of_language(language, text, said):
    voice = Espeak(language)
    voice.speak(text, "m1")
    assert [phoneme.name for phoneme in voice.phonemes] == said.split()


def test_phonemes_are_where_they_are_heard():
    """A hiss has most of its energy above 4 kHz, a vowel has not."""
    voice, shares = Espeak("en-us"), {"s": [], "i:": []}
    for variant in ("m1", "f4", "grandpa"):
        for text in ("these seasons", "sixty seas", "see this season"):
            samples = voice.speak(text, variant).astype(float)
            assert voice.phonemes[-1].end <= len(samples) / voice.sample_rate
            for start, end, name in voice.phonemes:
                if name in shares:
                    part = samples[round(start * voice.sample_rate) : round(end * voice.sample_rate)]
                    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
                    high = np.fft.rfftfreq(len(part), 1 / voice.sample_rate) > 4000
                    shares[name].append(power[high].sum() / power.sum())
    assert min(map(len, shares.values())) >= 9
    assert min(shares["s"]) > 0.5 > 0.2 > max(shares["i:"])
