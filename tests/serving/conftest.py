"""A server in a thread, on a free port."""

import threading
import time
from contextlib import contextmanager

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
    return sorted(librispeech.glob("LibriSpeech/*/*/*/*.flac"))[:8]


@pytest.fixture(scope="session")
def asr(talkative):
    """A model of random weights, which writes something."""
    return RecursiveASR.from_hparams(talkative)


@pytest.fixture(scope="session")
def serving(talkative):
    """``with serving(key=None, **limits) as url``: a server of the model."""

    @contextmanager
    def start(key=None, batch_seconds=60.0, **limits):
        asr = RecursiveASR.from_hparams(talkative, decoder="greedy")
        service = Service(asr, "tiny", Limits(**limits), batch_seconds)
        with listen(port=0) as port:
            config = uvicorn.Config(create_app(service, LOOPBACK, key), log_level="warning")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [port]})
            thread.start()
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            server.service = service
            yield server, f"http://127.0.0.1:{port.getsockname()[1]}"
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

    return start


@pytest.fixture(scope="module")
def server(serving):
    """The address of a server with small limits."""
    with serving(bytes=2_000_000, seconds=60.0) as (_, url):
        yield url


@pytest.fixture
def client(server):
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client
