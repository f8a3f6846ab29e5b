"""A recording while it is transcribed, window by window, and its transcript."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speechbrain_recursive.data.blocks import blocks, channels_of
from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.data.pcm import LOUDEST
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.windows import Window, windows
from speechbrain_recursive.inference.words import Word, join

logger = logging.getLogger(__name__)


@dataclass
class Transcript:
    """What is said in a recording.

    Arguments
    ---------
    label : str
        The path of the recording.
    channel : int, optional
        The channel, if each has a transcript.
    text : str
        The words.
    words : list of Word
        With times and confidences.
    seconds : float
        Duration of the recording.
    error : UserError, optional
        Why there is no transcript.
    """

    label: str
    channel: int | None = None
    text: str = ""
    words: list[Word] = field(default_factory=list)
    seconds: float = 0.0
    error: UserError | None = None

    @property
    def name(self) -> str:
        """The path, with the channel if each has a transcript."""
        return self.label if self.channel is None else f"{self.label}:{self.channel}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times to the millisecond."""
        words = [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            | {"confidence": round(word.confidence, 3)}
            for word in self.words
        ]
        return {
            "audio": self.label,
            **({} if self.channel is None else {"channel": self.channel}),
            "seconds": round(self.seconds, 3),
            "text": self.text,
            "words": words,
        }


class Recording:
    """A recording whose windows are transcribed one after another.

    Arguments
    ---------
    transcript : Transcript
        To be filled.
    signals : iterable of numpy.ndarray
        The recording in blocks [time].
    sample_rate : int
        Samples per second.
    durations : Durations
        What the model was trained on.
    """

    def __init__(
        self,
        transcript: Transcript,
        signals: Iterable[np.ndarray],
        sample_rate: int,
        durations: Durations,
    ):
        self.transcript = transcript
        self._signals, self._rate, self._durations = signals, sample_rate, durations
        self._samples, self._loud, self._open, self._last = 0, False, 0, []
        self._read = False

    def windows(self) -> Iterator[Window]:
        """Read it; what cannot be read ends as the transcript's error."""
        try:
            for window in windows(self._counted(), self._rate, self._durations):
                self._open += 1
                yield window
            if not self._samples:
                raise UserError(f"{self.transcript.name} holds no audio")
        except UserError as error:
            self.transcript.error = error
        else:
            if not self._loud:
                logger.warning("%s is silent", self.transcript.name)
        self._read = True
        self.transcript.seconds = self._samples / self._rate

    def _counted(self):
        for signal in self._signals:
            self._samples += len(signal)
            self._loud = self._loud or bool(signal.any())
            yield signal

    def add(self, window: Window, words: list[Word]) -> None:
        """Take the words of the next window."""
        if window.start < window.begin:
            reach = window.begin - window.start
            self._last, words = join(self._last, words, window.begin, reach)
        self.transcript.words += self._last
        self._last = words
        self._open -= 1

    @property
    def done(self) -> bool:
        """Whether all windows were read and transcribed, or reading failed."""
        return self._read and (not self._open or self.transcript.error is not None)

    def finish(self, separator: str) -> Transcript:
        """The transcript, whose text has a separator between words."""
        if self.transcript.error is None:
            self.transcript.words += self._last
            self.transcript.text = separator.join(word.text for word in self.transcript.words)
        return self.transcript


def recordings(
    audio: Any,
    channels: str | int,
    sample_rate: int,
    durations: Durations,
) -> list[Recording]:
    """The recordings in a piece of audio: one, or one for each channel.

    Arguments
    ---------
    audio : str, Path, file object, Source, numpy.ndarray or torch.Tensor
        Arrays are [time] at ``sample_rate``. Without libsndfile, files are those that
        :mod:`speechbrain_recursive.data.wav` reads.
    channels : str or int
        See :func:`~speechbrain_recursive.data.blocks.channels_of`.
    sample_rate, durations
        Of the model.

    Returns
    -------
    list of Recording
        What cannot be read is a recording with an error.
    """
    about = sample_rate, durations
    if hasattr(audio, "__array__"):
        return [Recording(Transcript("audio"), _checked(np.asarray(audio)), *about)]
    audio, label = getattr(audio, "audio", audio), getattr(audio, "label", str(audio))  # of a Source
    try:
        chosen, warning = channels_of(audio, channels)
    except UserError as error:
        return [Recording(Transcript(label), _refusing(error), *about)]
    if warning:
        logger.warning("%s: %s", label, warning)
    return [
        Recording(
            Transcript(label, channel if channels == "each" else None),
            blocks(audio, sample_rate, channel),
            *about,
        )
        for channel in chosen
    ]


def _checked(signal):
    if signal.ndim != 1:
        raise UserError(f"an array of audio has the shape [time], not {[*signal.shape]}")
    signal = signal.astype(np.float32)
    if not np.abs(signal).max(initial=0) <= LOUDEST:  # true of NaN
        raise UserError("samples are NaN, infinite or far too large")
    yield signal


def _refusing(error):
    raise error
    yield
