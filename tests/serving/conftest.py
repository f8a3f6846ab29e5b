"""A server in a thread, on a free port."""

import threading
import time
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import httpx
import openai
import pytest
import uvicorn

from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.serving.app import create_app
from speechbrain_recursive.serving.limits import Limits
from speechbrain_recursive.serving.server import LOOPBACK, listen
from speechbrain_recursive.serving.service import Service


@pytest.fixture(scope="session")
def speech(librispeech):
    """Eight recordings of different lengths."""
    return sorted(librispeech.glob("LibriSpeech/*/*/*/*.flac"))[:8]


@pytest.fixture(scope="module")
def asr(talkative):
    """A model that writes something, with a decoder that is fast."""
    return RecursiveASR.from_hparams(talkative, decoder="greedy")


@pytest.fixture(scope="module")
def serving(talkative):
    """``with serving(key, streaming, **limits) as server``: its ``url``, ``service`` and ``client``."""

    @contextmanager
    def start(key=None, streaming=None, **limits):
        asr = RecursiveASR.from_hparams(talkative, decoder="greedy")
        service = Service(asr, "tiny", Limits(**limits), streaming=streaming)
        with listen(port=0) as port:
            config = uvicorn.Config(create_app(service, LOOPBACK, key), log_level="critical")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [port]})
            thread.start()
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            url = f"http://127.0.0.1:{port.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=20) as client:
                stop = partial(setattr, server, "should_exit", True)  # what SIGTERM does
                yield SimpleNamespace(url=url, service=service, client=client, stop=stop)
            stop()
            thread.join(20)
            assert not thread.is_alive()

    return start


@pytest.fixture(scope="module")
def server(serving):
    """A server with small limits."""
    with serving(bytes=1_000_000, seconds=60.0) as server:
        yield server


@pytest.fixture
def client(server):
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def held():
    """``with held(service) as release``: the model does nothing until the event is set."""

    @contextmanager
    def hold(service):
        release, holding = threading.Event(), threading.Event()

        def wait():
            holding.set()
            release.wait(20)

        future = service.batcher._thread.submit(wait)
        holding.wait(20)
        try:
            yield release
        finally:
            release.set()
            future.result()

    return hold


@pytest.fixture
def until():
    """``until(condition)``: wait for it, 20 seconds at most."""

    def wait(condition):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    return wait
