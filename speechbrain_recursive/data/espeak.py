"""Speech from the eSpeak NG library that the PyPI wheel ``espeakng-loader`` carries.

The library is called in-process through ctypes. It keeps its oscillator phases in global variables
from one utterance to the next, so that its output depends on all utterances before. Each
:class:`Espeak` therefore loads its own copy of the library: the same calls give the same samples, and
several objects can be used in several threads.
"""

import ctypes
import itertools
import shutil
import tempfile
import weakref
from pathlib import Path

import espeakng_loader
import numpy as np

from speechbrain_recursive.data.phonemes import Phoneme

SYNCHRONOUS, UTF8, RATE, VOLUME, PITCH = 2, 1, 1, 2, 3  # espeak-ng/speak_lib.h
PHONEME_EVENTS, NO_EXIT, PHONEME = 1, 0x8000, 7
STRESS, SILENT = "',%=", ("_", "(")  # how names begin: stress; pauses and changes of language
LOUDNESS = 50  # percent; at 100 some variants clip


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """``espeak_EVENT``; a list of them ends with one of type 0."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """One eSpeak NG synthesizer with its own state.

    Use an object from one thread at a time.

    Arguments
    ---------
    language : str
        An eSpeak language, such as ``"en-us"``, ``"fr"`` or ``"cmn"`` (Mandarin).

    Attributes
    ----------
    sample_rate : int
        Sample rate of the output of :meth:`speak`, in Hz (22050 for eSpeak's own voices).
    phonemes : list of Phoneme
        The phonemes of the last utterance, in eSpeak's notation without stress, and when they are
        spoken, to the sample. What is silent is left out.

    Raises
    ------
    RuntimeError
        If the library finds no data.

    Example
    -------
    >>> espeak = Espeak("en-us")
    >>> speech = espeak.speak("hello", variant="m1", rate=140)
    >>> speech.dtype, speech.ndim
    (dtype('int16'), 1)
    >>> [phoneme.name for phoneme in espeak.phonemes]
    ['h', '@', 'l', 'oU']
    """

    def __init__(self, language: str = "en-us"):
        home = Path(tempfile.mkdtemp(prefix="espeak-"))
        weakref.finalize(self, shutil.rmtree, home, ignore_errors=True)
        # The library cuts paths of over 160 bytes, hence the link to its data.
        (home / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
        library = shutil.copy(espeakng_loader.get_library_path(), home)
        self._library = ctypes.CDLL(str(library))
        self.language = language
        self.phonemes = []
        self._blocks, self._starts = [], []
        self._callback = _CALLBACK(self._receive)  # the library holds only the address
        options = NO_EXIT | PHONEME_EVENTS
        self.sample_rate = self._library.espeak_Initialize(SYNCHRONOUS, 0, bytes(home), options)
        if self.sample_rate <= 0:
            raise RuntimeError(f"eSpeak NG does not start with the data that {home} links to")
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, events):
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        for event in itertools.takewhile(lambda event: event.type, events):
            if event.type == PHONEME:
                self._starts.append((event.sample, event.id.string.decode()))
        return 0

    def speak(self, text: str, variant: str = "", rate: int = 150, pitch: int = 50) -> np.ndarray:
        """Synthesize one utterance.

        Arguments
        ---------
        text : str
            The text, of any length.
        variant : str
            A voice variant, such as ``"m1"`` or ``"f4"``; by default the language's own voice.
        rate : int
            Nominal speaking rate in words a minute, 80 to 450.
        pitch : int
            Base pitch, 0 to 99.

        Returns
        -------
        np.ndarray
            Shape [time], int16, at ``sample_rate``. Empty if the text has no words.

        Raises
        ------
        ValueError
            If eSpeak has no such language or variant.
        """
        voice = f"{self.language}+{variant}" if variant else self.language
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {voice!r}")
        for parameter, value in ((RATE, rate), (VOLUME, LOUDNESS), (PITCH, pitch)):
            self._library.espeak_SetParameter(parameter, int(value), 0)
        self._blocks.clear()
        self._starts.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, UTF8, None, None)
        samples = np.frombuffer(b"".join(self._blocks), dtype=np.int16)
        self.phonemes = self._spoken(len(samples))
        return samples

    def _spoken(self, length):
        """The phonemes of an utterance of so many samples: each ends where the next one starts."""
        edges = [*self._starts, (length, "")]
        return [
            Phoneme(start / self.sample_rate, end / self.sample_rate, name.lstrip(STRESS))
            for (start, name), (end, _) in itertools.pairwise(edges)
            if start < end and name.lstrip(STRESS) and not name.startswith(SILENT)
        ]
