"""From audio of any kind to texts with the times of their words; what computes is a subclass's."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.inference.recording import Transcript, recordings
from speechbrain_recursive.inference.words import Word, align, words_of


class Transcriber(ABC):
    """Base class of :class:`~speechbrain_recursive.inference.transcribe.RecursiveASR` and of its twin
    without PyTorch, :class:`~speechbrain_recursive.inference.onnx.RecursiveASROnnx`.

    A subclass sets the attributes.

    Attributes
    ----------
    sample_rate : int
        Samples per second of waveforms.
    frame_seconds, side : float
        Seconds between frames of the posteriors, and half the time that the first one stands for.
    tokenizer : Pieces
        Of the model's outputs.
    durations : Durations
        What the model was trained on.
    units : callable
        From a text to the words or characters that errors are counted in.
    separator : str
        Between them.
    """

    sample_rate: int
    frame_seconds: float
    side: float
    tokenizer: Pieces
    durations: Durations
    units: Callable[[str], list[str]]
    separator: str

    @abstractmethod
    def decoder_at(self, loops: int | None = None, depth: int | None = None) -> tuple[str, Callable]:
        """Name and function of the decoder that runs at a depth."""

    @abstractmethod
    def posteriors(
        self, signals: list[np.ndarray], loops: int | None, depth: int | None, name: str
    ) -> tuple[list[np.ndarray], list[list[int]]]:
        """CTC log-posteriors and tokens of utterances.

        Arguments
        ---------
        signals : list of numpy.ndarray
            Each [time].
        loops, depth : int, optional
            What was asked for.
        name : str
            A decoder that :meth:`decoder_at` has built.

        Returns
        -------
        list of numpy.ndarray
            Each [T, V].
        list of list of int
            The tokens.
        """

    def transcribe_file(self, path: Any, loops: int | None = None, depth: int | None = None) -> str:
        """Transcribe one file or array.

        Arguments
        ---------
        path : str, pathlib.Path, numpy.ndarray or torch.Tensor
            Audio of any length, rate and number of channels; arrays [time] at the model's sample rate.
        loops, depth : int, optional
            See :meth:`depth`.

        Returns
        -------
        str

        Raises
        ------
        UserError
            If the file is missing, empty or not audio, or holds NaN; if :meth:`depth` raises it; or if
            the model cannot make so many loops.
        """
        (found,) = self.transcribe([path], loops, depth)
        if found.error is not None:
            raise found.error
        return found.text

    def transcribe_batch(
        self,
        wavs: Any,
        wav_lens: Any = None,
        loops: int | None = None,
        depth: int | None = None,
    ) -> tuple[list[str], list[list[int]]]:
        """Transcribe a batch of utterances, each as a whole.

        Arguments
        ---------
        wavs : torch.Tensor or numpy.ndarray
            [B, S] at the model's sample rate, zero-padded.
        wav_lens : torch.Tensor or numpy.ndarray, optional
            Relative lengths [B]; 1 by default.
        loops, depth : int, optional
            See :meth:`depth`.

        Returns
        -------
        list of str
            The texts.
        list of list of int
            The tokens.
        """
        wavs = np.asarray(wavs, dtype=np.float32)
        lens = np.ones(len(wavs)) if wav_lens is None else np.asarray(wav_lens, dtype=np.float64)
        samples = np.round(lens * wavs.shape[1]).astype(int).tolist()
        signals = [wav[:count] for wav, count in zip(wavs, samples, strict=True)]
        tokens = self.posteriors(signals, loops, depth, self.decoder_at(loops, depth)[0])[1]
        return [self.separator.join(self.units(self.tokenizer.decode(ids))) for ids in tokens], tokens

    def transcribe(
        self,
        audio: Iterable[Any],
        loops: int | None = None,
        depth: int | None = None,
        batch_seconds: float = 60.0,
        channels: str | int = "average",
    ) -> Iterator[Transcript]:
        """Transcribe recordings of any number and length, with the times of their words.

        Windows of long recordings and whole short ones are transcribed together, in batches.

        Arguments
        ---------
        audio : iterable
            Paths, arrays [time] at the model's sample rate, or
            :class:`~speechbrain_recursive.data.sources.Source`. Each is read by blocks when its turn
            comes.
        loops, depth : int, optional
            See :meth:`depth`.
        batch_seconds : float
            Limit on the padded duration of a batch, in seconds. A window that is longer is a batch.
        channels : str or int
            ``average``, ``each`` or a channel counted from 0.

        Yields
        ------
        Transcript
            In the order of the recordings. What cannot be read has an ``error``.

        Raises
        ------
        UserError
            If :meth:`depth` raises it, or the model cannot make so many loops.
        """
        run = partial(self._run, loops, depth, self.decoder_at(loops, depth)[0])
        waiting, batch = deque(), []
        rate = self.sample_rate
        for item in audio:
            for recording in recordings(item, channels, rate, self.durations):
                waiting.append(recording)
                for window in recording.windows():
                    longest = max(len(window.signal), *(len(other.signal) for _, other in batch), 0)
                    if batch and longest * (len(batch) + 1) > batch_seconds * rate:
                        run(batch)
                        batch = []
                    batch.append((recording, window))
                while waiting and waiting[0].done:
                    yield waiting.popleft().finish(self.separator)
        run(batch)
        for recording in waiting:
            yield recording.finish(self.separator)

    def _run(self, loops, depth, name, batch):
        """Transcribe a batch of windows; those without a sound hold no words."""
        batch = [each for each in batch if each[0].transcript.error is None]
        signals = [window.signal for _, window in batch if window.signal.any()]
        found = iter(self._words(signals, loops, depth, name) if signals else ())
        for recording, window in batch:
            words = next(found) if window.signal.any() else []
            recording.add(window, [word.shifted(window.start) for word in words])

    def _words(self, signals, loops, depth, name) -> list[list[Word]]:
        found = []
        log_probs, tokens = self.posteriors(signals, loops, depth, name)
        for signal, each, ids in zip(signals, log_probs, tokens, strict=True):
            spans = align(each, ids, self.tokenizer.blank)
            end = len(signal) / self.sample_rate

            def seconds(border, end=end):  # the first frame is centered at 0
                return min(max(0.0, border * self.frame_seconds - self.side), end)

            found.append(words_of(ids, spans, self.tokenizer.decode, self.units, seconds))
        return found
