"""Transcription by the model of a results folder, at any depth and with any of its decoders."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from speechbrain_recursive.inference.hub import fetch
from speechbrain_recursive.inference.recognizer import Recognizer
from speechbrain_recursive.inference.recording import Transcript, recordings
from speechbrain_recursive.inference.results import open_results
from speechbrain_recursive.inference.words import Word, align, words_of


class RecursiveASR(Recognizer):
    """A trained ASR model with its tokenizer and its decoders, in the style of SpeechBrain's interfaces.

    :meth:`from_hparams` opens a results folder. An utterance has the same transcript alone and in any
    batch.

    Attributes
    ----------
    model : ASRModel
        In eval mode.
    tokenizer : CharacterTokenizer or SentencePieceTokenizer
        Of the model's outputs.
    decoder : str or None
        Which of the run's decoders runs; None: the best of its report.

    Example
    -------
    >>> asr = RecursiveASR.from_hparams("results/mini/1234")  # doctest: +SKIP
    >>> asr.transcribe_file("speech.wav", loops=8)  # doctest: +SKIP
    'PLEASE BRING THE WAGON'
    """

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        savedir: str | Path | None = None,
        run_opts: Mapping[str, Any] | None = None,
        decoder: str | None = None,
        adaptive: bool = False,
        trust: bool = False,
        revision: str | None = None,
    ) -> "RecursiveASR":
        """Open a model.

        Arguments
        ---------
        source : str or pathlib.Path
            The results folder of a finished run, a published one, or USER/NAME on the Hub.
        savedir : str or pathlib.Path, optional
            Where to put what is fetched from the Hub. A folder is used where it is.
        run_opts : mapping, optional
            ``device``: where the model runs, ``cpu`` by default.
        decoder : str, optional
            One of the run's decoders by its name. By default, the one with the lowest error rate in the
            run's report at the depth that is asked for.
        adaptive : bool
            Exit early by the folder's calibration, from the depth that it was made for; see
            :func:`~speechbrain_recursive.inference.calibrate.calibrate`.
        trust : bool
            Whether the folder's YAML may name any code; see
            :func:`~speechbrain_recursive.hparams.load_trained`.
        revision : str, optional
            Commit, tag or branch on the Hub; see :func:`~speechbrain_recursive.inference.hub.fetch`.

        Raises
        ------
        UserError
            If :func:`~speechbrain_recursive.inference.results.open_results` raises it, there is no such
            decoder, or ``adaptive`` is asked for and the folder was not calibrated.
        """
        device = (run_opts or {}).get("device", "cpu")
        folder = fetch(source, revision, savedir)
        return cls(*open_results(folder, device, trust), folder, decoder, adaptive, trust)

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
        wavs = torch.as_tensor(wavs, dtype=torch.float32)
        lens = torch.ones(len(wavs)) if wav_lens is None else torch.as_tensor(wav_lens)
        samples = torch.round(lens.double().cpu() * wavs.shape[1]).long().tolist()
        signals = [wav[:count] for wav, count in zip(wavs, samples, strict=True)]
        tokens = self.decode(signals, loops, depth, self.decoder_at(loops, depth)[0])[1]
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
        rate = self.model.sample_rate
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
        outputs, tokens = self.decode(signals, loops, depth, name)
        # the first frame is centered at 0
        each, half, found = self.model.frame_seconds, self.model.embed.frame_seconds / 2, []
        for row, ids in enumerate(tokens):
            log_probs = outputs.log_probs[row, : outputs.frames[row]]
            spans = align(log_probs, ids, self.tokenizer.blank)
            end = len(signals[row]) / self.model.sample_rate

            def seconds(border, end=end):
                return min(max(0.0, border * each - half), end)

            found.append(words_of(ids, spans, self.tokenizer.decode, self.units, seconds))
        return found
