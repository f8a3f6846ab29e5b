"""Recordings share batches, and each is transcribed as alone."""

import asyncio
import io
import threading

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.serving.batching import Ask, Batcher

RATE = 16000


@pytest.fixture
def batches(asr, monkeypatch):
    """The lengths of the signals in each batch that the model runs, in seconds."""
    made, run = [], asr.transcribe

    def transcribe(signals, *arguments):
        made.append([len(signal) / RATE for signal in signals])
        return run(signals, *arguments)

    transcribe.alone = run
    monkeypatch.setattr(asr, "transcribe", transcribe)
    return made


@pytest.fixture
def long(asr, speech, monkeypatch, tmp_path):
    """A recording of many windows of about two seconds, and a long silence."""
    monkeypatch.setattr(asr, "durations", Durations(1.0, 1.5, 2.0))
    pieces = [soundfile.read(path)[0] for path in speech]
    signal = np.concatenate([each for piece in pieces for each in (piece, np.zeros(8000))])
    soundfile.write(tmp_path / "long.wav", np.concatenate([signal, np.zeros(5 * RATE)]), RATE)
    return tmp_path / "long.wav"


def transcribe(batcher, jobs):
    """All at once; what failed is an exception."""

    async def run():
        return await asyncio.gather(*(batcher.transcribe(*job) for job in jobs), return_exceptions=True)

    return asyncio.run(run())


def near(one, other):
    """Whether words agree up to the rounding of another batch."""
    assert [word[:3] for word in one] == [word[:3] for word in other]
    assert [w.confidence for w in one] == pytest.approx([w.confidence for w in other], abs=1e-3)


def test_each_is_transcribed_as_alone(asr, speech, long, batches):
    jobs = [(path, Ask(loops)) for path in [*speech, long] for loops in (None, 1, 4)]
    jobs += [(path, Ask(None, 8, "joint")) for path in speech[:2]]
    found = transcribe(Batcher(asr, batch_seconds=20), jobs)
    assert len(batches) < len(jobs)
    most = max(max(batch) * len(batch) for batch in batches)
    assert 10 < most <= 20
    for (path, ask), each in zip(jobs, found, strict=True):
        asr.decoder = ask.decoder or "greedy"
        (alone,) = asr.transcribe.alone([path], ask.loops, ask.depth)
        assert each.transcript.text == alone.text
        assert each.transcript.seconds == alone.seconds
        near(each.transcript.words, alone.words)
        assert (each.decoder, each.seconds > 0) == (asr.decoder, True)
    asr.decoder = "greedy"


def test_a_short_recording_does_not_wait_for_a_long_one(asr, speech, long):
    batcher, order = Batcher(asr, batch_seconds=1), []

    async def one(path):
        await batcher.transcribe(path, Ask(1))
        order.append(path)

    async def run():
        await asyncio.gather(one(long), one(speech[0]))

    asyncio.run(run())
    assert order == [speech[0], long]


def test_other_depths_have_their_turn(asr, speech, long):
    batcher, order = Batcher(asr, batch_seconds=1), []

    async def one(path, loops):
        await batcher.transcribe(path, Ask(loops))
        order.append(path)

    async def run():
        await asyncio.gather(one(long, 1), one(speech[0], 2))

    asyncio.run(run())
    assert order == [speech[0], long]


def test_who_is_cancelled_leaves_the_others_and_no_reader(asr, speech, long, batches, monkeypatch):
    batcher, run, release = Batcher(asr, batch_seconds=1), asr.transcribe, threading.Event()
    monkeypatch.setattr(asr, "transcribe", lambda *a: [*run(*a), release.wait(20)][:-1])

    async def leave():
        leaves = asyncio.create_task(batcher.transcribe(io.BytesIO(long.read_bytes()), Ask(1)))
        while not batches:
            await asyncio.sleep(0.001)
        stays = asyncio.create_task(batcher.transcribe(speech[0], Ask(1)))
        leaves.cancel()
        await asyncio.sleep(0.05)
        assert not leaves.done()  # the thread may still read the file
        release.set()
        await asyncio.wait([leaves])
        assert leaves.cancelled()
        return await stays

    found = asyncio.run(leave())
    assert sum(map(len, batches)) < 10
    (alone,) = run.alone([speech[0]], 1)
    assert found.transcript.text == alone.text


def test_a_bad_recording_is_its_own_error(asr, speech, tmp_path):
    samples = np.ones(30 * RATE, dtype=np.float32) * 0.1
    samples[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no audio")
    paths = [tmp_path / "nan.wav", tmp_path / "text.wav", speech[0]]
    bad, text, good = transcribe(Batcher(asr), [(path, Ask(1)) for path in paths])
    assert "NaN" in str(bad)
    assert "cannot be read" in str(text)
    assert good.transcript.text == asr.transcribe_file(speech[0], loops=1)


def test_a_model_that_fails_fails_its_batch_only(asr, speech, monkeypatch):
    batcher = Batcher(asr)
    with monkeypatch.context() as patch:
        patch.setattr(asr, "transcribe", lambda *_: 1 / 0)
        found = transcribe(batcher, [(path, Ask(1)) for path in speech[:2]])
    assert all(isinstance(error, ZeroDivisionError) for error in found)
    (found,) = transcribe(batcher, [(speech[0], Ask(1))])
    assert found.transcript.text == asr.transcribe_file(speech[0], loops=1)


def test_too_long_is_refused_also_if_the_header_lies(asr, long, monkeypatch):
    batcher = Batcher(asr, max_seconds=3.0)
    (error,) = transcribe(batcher, [(long, Ask())])
    assert isinstance(error, UserError)
    assert "longer than 3 s" in str(error)
    monkeypatch.setattr(soundfile, "info", lambda _: type("Info", (), {"duration": 1.0}))
    (error,) = transcribe(batcher, [(long, Ask())])
    assert "longer than 3 s" in str(error)


def test_silence_is_no_words(asr, tmp_path, batches):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    (found,) = transcribe(Batcher(asr), [(tmp_path / "silence.wav", Ask())])
    assert (found.transcript.text, found.transcript.seconds, batches) == ("", 1.0, [])
