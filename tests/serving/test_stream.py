"""Live audio over a WebSocket, mostly with a stand-in for the model."""

import json
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from speechbrain_recursive.inference.recording import Transcript
from speechbrain_recursive.inference.streaming import StreamingASR
from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.inference.words import Word

END = json.dumps({"type": "finish"})


class Meter:
    """Stands for a model that streams: its words are the numbers of samples that it was fed."""

    def start(self, loops=None, depth=None):
        self.fed, self.ask = [], (loops, depth)
        return SimpleNamespace(feed=self.feed, finish=self.finish)

    def feed(self, samples):
        self.fed.append(samples)
        words = [Word(str(len(each)), 0.0, 1.0, 0.5) for each in self.fed]
        return SimpleNamespace(text=" ".join(word.text for word in words), words=words)

    def finish(self):
        seconds = sum(map(len, self.fed)) / 16000
        return Transcript("", text="end", words=[Word("end", 0.0, 1.0, 0.5)], seconds=seconds)


@pytest.fixture(scope="module")
def model():
    return Meter()


@pytest.fixture(scope="module")
def streaming(serving, model):
    with serving(streaming=model, seconds=5.0, upload_seconds=0.5) as server:
        yield server


@pytest.fixture
def talk(streaming):
    """``talk(query, *messages)``: what the server answers until it closes, and its code."""

    def run(query, *messages, url=streaming.url, **options):
        heard = []
        with connect(f"{url.replace('http', 'ws')}/v1/audio/stream{query}", **options) as line:
            with suppress(ConnectionClosed):  # what it said before is still to be heard
                for message in messages:
                    line.send(message)
            try:
                while True:
                    heard.append(json.loads(line.recv(10)))
            except ConnectionClosed as closed:
                return heard, closed.rcvd.code

    return run


def test_words_come_as_audio_does(talk, model):
    blocks = [np.array([0, 16384, -32768], "<i2"), np.zeros(800, "<i2")]
    heard, code = talk("?loops=2", *(block.tobytes() for block in blocks), END)
    assert code == 1000
    assert [(each["type"], each["text"]) for each in heard] == [
        ("partial", "3"),
        ("partial", "3 800"),
        ("final", "end"),
    ]
    assert heard[1]["words"][1] == {"word": "800", "start": 0.0, "end": 1.0, "confidence": 0.5}
    assert heard[2]["seconds"] == 0.05
    assert model.ask == (2, None)
    assert model.fed[0].tolist() == [0.0, 0.5, -1.0]


def test_other_rates_and_formats(talk, model):
    signal = np.sin(np.arange(8000) / 10).astype("<f4")
    heard, _ = talk("?rate=8000&format=float32", *(part.tobytes() for part in np.split(signal, 10)), END)
    assert heard[-1]["seconds"] == 1.0
    whole = np.concatenate(model.fed)
    assert whole[4000:8000:2] == pytest.approx(signal[2000:4000], abs=2e-3)


@pytest.mark.parametrize(
    ("query", "message", "said"),
    [
        ("?loops=many", END, "loops: Input should be a valid integer"),
        ("?loops=70", END, "at most loops 6"),
        ("?loop=7", END, "loop: Extra inputs are not permitted"),
        ("?rate=10", END, "rate: Input should be greater than"),
        ("?rate=44101", END, "cannot be resampled"),
        ("?format=float32", np.float32([np.nan]).tobytes(), "samples are NaN"),
        ("", b"123", "3 bytes are no whole number of samples"),
        ("", "stop", "send bytes of audio, or the text"),
        ("", bytes(2 * 16000 * 6), "the audio is longer than 5 s"),
        ("", b"", "no audio for 0.5 s"),
    ],
)
def test_mistakes_end_the_stream(talk, query, message, said):
    heard, code = talk(query, message)
    assert heard[-1]["type"] == "error"
    assert said in heard[-1]["error"]["message"]
    assert code == 1008


def test_a_failure_ends_the_stream_and_not_the_server(talk, model, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(model, "feed", lambda _: 1 / 0)
        heard, code = talk("", bytes(100))
    assert (heard[0]["error"]["type"], code) == ("server_error", 1011)
    assert talk("", END)[1] == 1000


def test_a_client_that_leaves_frees_its_place(serving, model, until):
    with serving(streaming=model, concurrent=1) as server:
        url = f"{server.url.replace('http', 'ws')}/v1/audio/stream"
        with connect(url) as line:
            line.send(bytes(100))
            line.recv(10)
            with pytest.raises(InvalidStatus, match="429"):
                connect(url)

        def free():
            try:
                with connect(url):
                    return True
            except InvalidStatus:
                return False

        until(free)


def test_who_may_stream(serving, talk, model):
    with serving(key="secret", streaming=model) as server:
        for options in ({}, {"subprotocols": ["transcribe", "key.wrong"]}):
            with pytest.raises(InvalidStatus, match="401"):
                talk("", url=server.url, **options)
        with pytest.raises(InvalidStatus, match="403"):
            talk("", url=server.url, origin="http://evil.example")
        assert talk("", END, url=server.url, subprotocols=["transcribe", "key.secret"])[1] == 1000


def test_a_model_that_does_not_stream_says_so(server, talk):
    heard, code = talk("", END, url=server.url)
    assert "this model does not stream" in heard[0]["error"]["message"]
    assert code == 1008


def test_a_model_hears_what_it_would_transcribe(serving, streamer, speech, talk):
    live = StreamingASR.from_hparams(streamer, decoder="greedy")
    samples, _ = soundfile.read(speech[0], dtype="int16")
    expected = RecursiveASR.from_hparams(streamer, decoder="greedy").transcribe_file(speech[0], loops=6)
    with serving(streaming=live) as server:
        assert server.client.get("/health").json()["streaming"] is True
        pieces = [piece.tobytes() for piece in np.split(samples, range(8000, len(samples), 8000))]
        heard, code = talk("?loops=6", *pieces, END, url=server.url)
    assert code == 1000
    assert heard[-1]["text"] == expected
    assert [word["word"] for word in heard[-1]["words"]] == expected.split()
    assert any(each["text"] for each in heard[:-1])
