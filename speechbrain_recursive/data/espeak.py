"""Speech from the eSpeak NG library that the PyPI wheel ``espeakng-loader`` carries.

The library is called in-process through ctypes. It keeps its oscillator phases in global variables
from one utterance to the next, so that its output depends on all utterances before. Each
:class:`Espeak` therefore loads its own copy of the library: the same calls give the same samples, and
several objects can be used in several threads.
"""

import ctypes
import shutil
import tempfile
import weakref
from pathlib import Path

import espeakng_loader
import numpy as np

SYNCHRONOUS, NO_EXIT, UTF8, RATE, VOLUME, PITCH = 2, 0x8000, 1, 1, 2, 3  # espeak-ng/speak_lib.h
LOUDNESS = 50  # percent; at 100 some variants clip
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


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

    Raises
    ------
    RuntimeError
        If the library finds no data.

    Example
    -------
    >>> speech = Espeak("en-us").speak("hello", variant="m1", rate=140)
    >>> speech.dtype, speech.ndim
    (dtype('int16'), 1)
    """

    def __init__(self, language: str = "en-us"):
        home = Path(tempfile.mkdtemp(prefix="espeak-"))
        weakref.finalize(self, shutil.rmtree, home, ignore_errors=True)
        # The library cuts paths of over 160 bytes, hence the link to its data.
        (home / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
        library = shutil.copy(espeakng_loader.get_library_path(), home)
        self._library = ctypes.CDLL(str(library))
        self.language = language
        self._blocks = []
        self._callback = _CALLBACK(self._receive)  # the library holds only the address
        self.sample_rate = self._library.espeak_Initialize(SYNCHRONOUS, 0, bytes(home), NO_EXIT)
        if self.sample_rate <= 0:
            raise RuntimeError(f"eSpeak NG does not start with the data that {home} links to")
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, _events):
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
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
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, UTF8, None, None)
        return np.frombuffer(b"".join(self._blocks), dtype=np.int16)
