"""Transcription while somebody speaks, by models that stream."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hub import fetch
from speechbrain_recursive.inference.decoders import best_decoder
from speechbrain_recursive.inference.recognizer import Recognizer
from speechbrain_recursive.inference.recording import Transcript, recordings
from speechbrain_recursive.inference.results import open_results
from speechbrain_recursive.inference.words import Word, align, words_of
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.streaming import ModelStream, check_streaming

PAUSE = 0.5  # seconds of blanks
PIECE = 0.1  # seconds of a recording that are fed at once
CHUNKS = DynChunkTrainConfig(16, 4)


class Partial(NamedTuple):
    """What was heard so far. Words of the present sentence can still change."""

    text: str
    words: list[Word]


class StreamingASR(Recognizer):
    """A trained model that transcribes audio as it comes.

    Its transcripts are those of the whole recording under the mask of its chunks. Memory is bounded:
    words become final at a pause, once more was said than the longest utterance in training.

    Arguments
    ---------
    model, tokenizer, hparams, folder, trust
        See :class:`Recognizer`.
    decoder : str, optional
        One of the run's decoders that reads CTC posteriors alone; by default, the best of them.
    chunk_size : int, optional
        Frames of a chunk. By default, that of the run's evaluation.
    left_context : int, optional
        Chunks before it that it attends to. By default, as in the run's evaluation.

    Raises
    ------
    UserError
        If the model cannot stream, there is no such decoder, or no such chunks.

    Attributes
    ----------
    config : DynChunkTrainConfig
        Sizes of chunk and left context.

    Example
    -------
    >>> asr = StreamingASR.from_hparams("results/streaming_mini/1234")  # doctest: +SKIP
    >>> stream = asr.start(loops=6)  # doctest: +SKIP
    >>> for samples in microphone:  # doctest: +SKIP
    ...     print(stream.feed(samples).text)
    >>> stream.finish().text  # doctest: +SKIP
    'PLEASE BRING THE WAGON'
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        hparams: Mapping[str, Any],
        folder: str | Path,
        decoder: str | None = None,
        trust: bool = False,
        chunk_size: int | None = None,
        left_context: int | None = None,
    ):
        super().__init__(model, tokenizer, hparams, folder, decoder, trust=trust)
        check_streaming(model)
        among = [
            name for name, each in hparams["task"].decoders.items() if each.request.heads == {"ctc"}
        ]
        if decoder not in (None, *among):
            raise UserError(f"--decoder {decoder} reads whole recordings; there is {', '.join(among)}")
        self.decoder = decoder or best_decoder(folder, hparams, None, among)
        usual = self.chunks or CHUNKS
        self.config = DynChunkTrainConfig(
            usual.chunk_size if chunk_size is None else chunk_size,
            usual.left_context_size if left_context is None else left_context,
        )
        if self.config.chunk_size < 1 or (self.config.left_context_size or 0) < 1:
            raise UserError("a chunk has a frame at least, and a limited number of chunks to its left")

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        savedir: str | Path | None = None,
        run_opts: Mapping[str, Any] | None = None,
        revision: str | None = None,
        trust: bool = False,
        **options: Any,
    ) -> "StreamingASR":
        """Open a model.

        Arguments
        ---------
        source, savedir, run_opts, revision, trust
            See :meth:`~speechbrain_recursive.inference.transcribe.RecursiveASR.from_hparams`.
        **options
            ``decoder``, ``chunk_size`` and ``left_context``, see :class:`StreamingASR`.

        Raises
        ------
        UserError
            If the model cannot be opened or cannot stream, there is no such decoder, or no such chunks.
        """
        folder = fetch(source, revision, savedir)
        device = (run_opts or {}).get("device", "cpu")
        return cls(*open_results(folder, device, trust), folder, trust=trust, **options)

    def settings(self, loops: int | None = None, depth: int | None = None) -> dict[str, Any]:
        """What transcripts depend on, besides the audio, for JSON."""
        chunks = {"chunk_size": self.config.chunk_size, "left_context": self.config.left_context_size}
        return super().settings(loops, depth) | chunks

    def start(self, loops: int | None = None, depth: int | None = None) -> "Stream":
        """Begin to listen; ``loops`` and ``depth`` are those of :meth:`Recognizer.depth`."""
        run = Depth(self.model.schedule)
        if (loops, depth) != (None, None):
            run = self.depth(loops, depth)
        return Stream(self, run, self.decoder_at(loops, depth)[1])

    def transcribe(
        self,
        audio: Iterable[Any],
        loops: int | None = None,
        depth: int | None = None,
        channels: str | int = "average",
        watch: Callable[[Partial], None] | None = None,
    ) -> Iterator[Transcript]:
        """Transcribe recordings as if they were spoken now.

        Arguments
        ---------
        audio, loops, depth, channels
            See :meth:`~speechbrain_recursive.inference.transcriber.Transcriber.transcribe`.
        watch : callable, optional
            Is given what was heard so far, again and again.

        Yields
        ------
        Transcript
            In the order of the recordings. What cannot be read has an ``error``.
        """
        piece = round(PIECE * self.sample_rate)
        for item in audio:
            for recording in recordings(item, channels, self.sample_rate, self.durations):
                stream = self.start(loops, depth)
                for block in recording.blocks():
                    for begin in range(0, len(block), piece):
                        heard = stream.feed(block[begin : begin + piece])
                        if watch is not None:
                            watch(heard)
                found = recording.transcript
                if found.error is None:
                    heard = stream.finish()
                    found.text, found.words = heard.text, heard.words
                yield found


class Stream:
    """One speaker; see :meth:`StreamingASR.start`."""

    def __init__(self, asr: StreamingASR, depth: Depth, decode: Callable):
        self.asr, self.decode = asr, decode
        self.model = ModelStream(asr.model, asr.config, depth)
        self.words: list[Word] = []  # final ones
        self.log_probs = np.zeros((0, len(asr.tokenizer)), dtype=np.float32)  # of the present sentence
        self.first = self.samples = 0  # frames before it, samples in all

    def feed(self, samples: Any) -> Partial:
        """Take the next samples.

        Arguments
        ---------
        samples : numpy.ndarray or torch.Tensor
            [time] at the model's sample rate, any number.

        Returns
        -------
        Partial

        Raises
        ------
        UserError
            If samples are NaN or infinite.
        """
        samples = np.asarray(samples, dtype=np.float32)
        if not np.isfinite(samples).all():
            raise UserError("samples are NaN or infinite")
        self.samples += len(samples)
        self._take(self.model.feed(torch.from_numpy(samples)))
        words = self.words + self._words(
            greedy(torch.from_numpy(self.log_probs)[None], self._frames())[0]
        )
        return Partial(self.asr.separator.join(word.text for word in words), words)

    def finish(self) -> Transcript:
        """The whole transcript, with the times of its words."""
        self._take(self.model.finish())
        self._end(len(self.log_probs))
        text = self.asr.separator.join(word.text for word in self.words)
        return Transcript("audio", None, text, self.words, self.samples / self.asr.sample_rate)

    def _take(self, log_probs):
        """Add log-posteriors [T, V]; a long sentence ends at a pause, or before its last word."""
        self.log_probs = np.concatenate([self.log_probs, log_probs.cpu().numpy()])
        blank = self.log_probs.argmax(-1) == self.asr.tokenizer.blank
        pause = round(PAUSE / self.asr.frame_seconds)
        longest = self.asr.durations.longest / self.asr.frame_seconds
        if len(blank) > longest and blank[-pause:].all():
            self._end(len(blank))
        elif len(blank) > 3 * longest and len(words := self._heard()) > 1:
            self._end(round((words[-1].start + self.asr.side) / self.asr.frame_seconds) - self.first)

    def _end(self, frames):
        """Make the words of so many frames final."""
        rest, self.log_probs = self.log_probs[frames:], self.log_probs[:frames]
        if frames:
            log_probs = torch.from_numpy(self.log_probs)[None]
            (ids,) = self.decode(SimpleNamespace(log_probs=log_probs, frames=self._frames()))
            self.words += self._words(ids)
        self.first, self.log_probs = self.first + frames, rest

    def _heard(self):
        """The words of the present sentence."""
        return self._words(greedy(torch.from_numpy(self.log_probs)[None], self._frames())[0])

    def _frames(self):
        return torch.tensor([len(self.log_probs)])

    def _words(self, ids):
        asr, end = self.asr, self.samples / self.asr.sample_rate
        spans = align(self.log_probs, ids, asr.tokenizer.blank)

        def seconds(border):
            return min(max(0.0, (self.first + border) * asr.frame_seconds - asr.side), end)

        return words_of(ids, spans, asr.tokenizer.decode, asr.units, seconds)
