"""Many requests, one model: windows of several recordings share a batch, turn by turn."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import soundfile

from speechbrain_recursive.data.blocks import Audio
from speechbrain_recursive.data.sources import Source
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.recording import Recording, Transcript, recordings
from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.inference.windows import Window

READERS = 2  # files that are opened at a time: some rates take memory to resample

Result = TypeVar("Result")


class Ask(NamedTuple):
    """How to transcribe: the arguments of ``RecursiveASR.depth``, and a decoder by its name."""

    loops: int | None = None
    depth: int | None = None
    decoder: str | None = None


class Found(NamedTuple):
    """A transcript, the decoder that ran, and the seconds that the model computed for it.

    They are the recording's share of its batches, by duration.
    """

    transcript: Transcript
    decoder: str
    seconds: float


class _Job:
    """A recording on its way, with the window that is its next, or None at its end."""

    def __init__(self, recording: Recording, ask: Ask, max_seconds: float, sample_rate: int):
        self.recording, self.ask, self.gone = recording, ask, False
        self.decoder, self.seconds, self.error = None, 0.0, None
        self._windows, self._rate, self._most = recording.windows(), sample_rate, max_seconds
        self._read()

    def take(self) -> Window:
        """The next window; the one after it is read."""
        window = self.next
        self._read()
        return window

    def _read(self):
        self.next = None
        try:
            window = next(self._windows, None)
            if window is not None:
                check_duration(window.start + len(window.signal) / self._rate, self._most)
            self.next, self.error = window, self.recording.transcript.error
        except Exception as error:  # whatever it is, it is the error of this recording alone
            self.error = error


class Batcher:
    """Transcribes recordings of concurrent requests with one model, in a thread of its own.

    Each turn of the thread takes windows of all recordings that are asked for alike, one of each and
    then the next of each, until a batch is full. So long recordings do not hold up short ones, two
    windows of a recording are in memory at most, and a request that is cancelled leaves after the turn.
    An utterance has the same transcript as alone.

    Arguments
    ---------
    asr : RecursiveASR
        The model, which nothing else may run.
    batch_seconds : float
        Limit on the padded duration of a batch, in seconds. A window that is longer is a batch.
    max_seconds : float
        Limit on the duration of a recording, in seconds.
    """

    def __init__(self, asr: RecursiveASR, batch_seconds: float = 60.0, max_seconds: float = math.inf):
        self.asr, self.max_seconds = asr, max_seconds
        self._decoder, self._samples = asr.decoder, batch_seconds * asr.model.sample_rate
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._jobs = {}  # from a job to the future of its end, in the order of turns
        self._busy, self._turn, self._work = [], None, None

    @property
    def count(self) -> int:
        """Recordings that wait or are transcribed."""
        return len(self._jobs)

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function in the thread of the model."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def transcribe(self, audio: Audio, ask: Ask) -> Found:
        """Transcribe a recording.

        Arguments
        ---------
        audio : str, pathlib.Path or file object
            Audio of any rate and number of channels, which are averaged. Nothing reads it any more when
            this coroutine ends, also if it was cancelled.
        ask : Ask
            How to transcribe it.

        Returns
        -------
        Found

        Raises
        ------
        UserError
            If it is no audio, is longer than ``max_seconds``, or holds nothing or NaN; or if the model
            cannot run so deep.
        """
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(self._readers, self._open, audio, ask)
        try:
            job = await asyncio.shield(opening)
        finally:
            await asyncio.wait([opening])
        if job.next is not None:
            await self._wait(job)
        if job.error is not None:
            raise job.error
        return Found(job.recording.finish(self.asr.separator), job.decoder, job.seconds)

    def close(self) -> None:
        """End the threads after what they are at."""
        for pool in (self._thread, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _open(self, audio, ask):
        with suppress(soundfile.SoundFileError):  # what is wrong is said when it is read
            if not isinstance(audio, str | Path):
                audio.seek(0)
            check_duration(soundfile.info(audio).duration, self.max_seconds)
        rate = self.asr.model.sample_rate
        (recording,) = recordings(Source(audio, "file", None), "average", rate, self.asr.durations)
        return _Job(recording, ask, self.max_seconds, rate)

    async def _wait(self, job):
        self._jobs[job] = asyncio.get_running_loop().create_future()
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._turns())
        try:
            await self._jobs[job]
        finally:
            self._jobs.pop(job)
            job.gone = True
            if job in self._busy:  # it was cancelled, and the thread may be reading its file
                await asyncio.wait([self._turn])

    async def _turns(self):
        while waiting := [job for job, end in self._jobs.items() if not end.done()]:
            self._busy = [job for job in waiting if job.ask == waiting[0].ask]
            self._turn = asyncio.ensure_future(self.run(self._take_turn, self._busy))
            try:
                served = await self._turn
            except Exception as error:
                served = self._busy
                for job in served:
                    job.next, job.error = None, error
            self._busy = []
            for job in served:
                if job in self._jobs:
                    end = self._jobs[job] = self._jobs.pop(job)  # its next turn is behind the others'
                    if job.next is None and not end.done():
                        end.set_result(None)

    def _take_turn(self, jobs: Sequence[_Job]) -> list[_Job]:
        """Fill a batch with windows of jobs that are asked for alike and run it; returns those in it."""
        batch, longest, turns = [], 0, deque(job for job in jobs if not job.gone)
        while turns:
            job = turns.popleft()
            longest = max(longest, len(job.next.signal))
            if batch and longest * (len(batch) + 1) > self._samples:
                break
            batch.append((job, job.take()))
            if job.next is not None:
                turns.append(job)
        if batch:
            self._run(batch)
        return list(dict.fromkeys(job for job, _ in batch))

    def _run(self, batch):
        ask = batch[0][0].ask
        signals = [window.signal for _, window in batch if window.signal.any()]
        self.asr.decoder = ask.decoder or self._decoder
        try:
            decoder, _ = self.asr.decoder_at(ask.loops, ask.depth)  # built at its first use
        except UserError as error:  # a file of the model: not the mistake of who asks
            raise RuntimeError(str(error)) from error
        start = time.perf_counter()
        found = [*self.asr.transcribe(signals, ask.loops, ask.depth, math.inf)] if signals else []
        each = (time.perf_counter() - start) / max(1, sum(map(len, signals)))
        heard = iter(found)
        for job, window in batch:
            words = next(heard).words if window.signal.any() else []
            job.recording.add(window, [word.shifted(window.start) for word in words])
            job.decoder, job.seconds = decoder, job.seconds + each * len(window.signal)


def check_duration(seconds: float, most: float) -> None:
    """Refuse a recording that is too long.

    Raises
    ------
    UserError
        If it has more than so many seconds.
    """
    if seconds > most:
        raise UserError(f"the audio is longer than {most:g} s, the limit of this server")
