"""OpenAI's client, and worse ones, against a real server."""

import io
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import openai
import pytest
import soundfile
from openai.types.audio import TranscriptionVerbose

from speechbrain_recursive.inference.archive import FORMATS
from speechbrain_recursive.serving.app import PAGE

PATH = "/v1/audio/transcriptions"


def ask(client, path, form="verbose_json", words=("word", "segment"), **more):
    """What OpenAI's client makes of a file."""
    given = {"timestamp_granularities": [*words]} if form == "verbose_json" else {}
    with path.open("rb") as file:
        return client.audio.transcriptions.create(
            model="tiny", file=file, response_format=form, extra_body=more, **given
        )


def post(client, content, **fields):
    """The response to bytes as a file."""
    return client.post(PATH, files={"file": ("../../a.wav", content)}, data=fields)


def sound(samples, rate=16000, **options):
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV"} | options))
    return file.getvalue()


def answers(url):
    """Whether a server takes a new connection."""
    try:
        return httpx.get(f"{url}/health")
    except httpx.ConnectError:
        return None


def times(words):
    return [(word.word, word.start, word.end) for word in words]


def test_text_words_and_segments(client, asr, speech):
    for path in speech[:3]:
        (expected,) = asr.transcribe([path])
        found = ask(client, path)
        TranscriptionVerbose.model_validate(found.model_dump(), strict=True)
        assert found.text == expected.text
        words = expected.as_dict()["words"]
        assert times(found.words) == [(w["word"], w["start"], w["end"]) for w in words]
        assert [word.confidence for word in found.words] == [w["confidence"] for w in words]
        assert " ".join(segment.text for segment in found.segments) == found.text
        assert found.segments[0].start == found.words[0].start
        assert found.segments[-1].end == found.words[-1].end
        assert all(segment.tokens and segment.avg_logprob < 0 for segment in found.segments)
        assert found.duration == pytest.approx(soundfile.info(path).duration, abs=1e-3)
        assert (found.language, found.model, found.decoder) == ("en", "tiny", "greedy")


def test_granularities(client, speech):
    assert ask(client, speech[0], words=["word"]).segments is None
    assert ask(client, speech[0], words=["segment"]).words is None
    assert ask(client, speech[0], words=[]).segments


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt"])
def test_formats(client, asr, speech, form):
    (expected,) = asr.transcribe(speech[:1])
    found = ask(client, speech[0], form)
    if form == "json":
        assert found.text == expected.text
        assert found.usage.seconds == round(expected.seconds, 3)
    else:
        assert found == FORMATS["txt" if form == "text" else form](expected, " ")


def test_depth_changes_the_text_and_the_compute(client, asr, speech):
    by_loops = {loops: ask(client, speech[0], loops=loops) for loops in (1, 3, 6)}
    assert len({found.text for found in by_loops.values()}) == 3
    for loops, found in by_loops.items():
        assert found.text == asr.transcribe_file(speech[0], loops=loops)
        assert (found.loops, found.depth) == (loops, 2 + 2 * loops)
    one, three, six = (found.multiply_adds for found in by_loops.values())
    assert six - three == pytest.approx(1.5 * (three - one), rel=1e-4)
    assert by_loops[6].text == ask(client, speech[0], depth=14).text
    assert by_loops[3].text == ask(client, speech[0]).text
    assert by_loops[3].processing_seconds > 0


def test_another_decoder(client, asr, speech):
    assert ask(client, speech[0], decoder="joint").decoder == "joint"
    assert ask(client, speech[0]).decoder == "greedy"


def test_32_concurrent_requests_are_answered_like_single_ones(client, speech):
    jobs = [(path, loops) for path in speech for loops in (1, 2, 3, 5)]
    alone = [ask(client, path, loops=loops) for path, loops in jobs]
    with ThreadPoolExecutor(32) as pool:
        together = [*pool.map(lambda job: ask(client, job[0], loops=job[1]), jobs)]
    assert len({found.text for found in alone}) > 16
    for one, other in zip(alone, together, strict=True):
        assert one.text == other.text
        assert times(one.words) == times(other.words)
        assert [word.confidence for word in one.words] == pytest.approx(
            [word.confidence for word in other.words], abs=1e-3
        )


def test_any_rate_and_channels(server, client, asr, speech):
    samples, rate = soundfile.read(speech[0])
    slow = post(server.client, sound(np.stack([samples[::2]] * 2, 1), rate // 2)).json()
    assert slow["usage"]["seconds"] == pytest.approx(len(samples) / rate, abs=1e-3)
    lossy = post(server.client, sound(samples, rate, format="MP3"))
    assert lossy.status_code == 200


@pytest.mark.parametrize(
    ("content", "fields", "status", "said"),
    [
        (b"no audio at all", {}, 400, "file cannot be read as audio: Format not recognised."),
        (b"", {}, 400, "file cannot be read as audio"),
        (sound(np.zeros(0)), {}, 400, "file holds no audio"),
        (sound(np.full(9000, np.nan), subtype="FLOAT"), {}, 400, "file cannot .* samples are NaN"),
        (sound(np.zeros(100), 44101), {}, 400, "44101 Hz cannot be resampled"),
        (sound(np.zeros(61 * 4000), 4000), {}, 400, "the audio is longer than 60 s"),
        (sound(np.zeros(9000))[:30], {}, 400, "file cannot be read as audio"),
        (sound(np.ones(9000)), {"loop": 3}, 400, "loop: no such field; there is file, model,"),
        (sound(np.ones(9000)), {"loops": "many"}, 400, "loops: input should be a valid integer"),
        (sound(np.ones(9000)), {"loops": 0}, 400, "loops 0: .* at least 1"),
        (sound(np.ones(9000)), {"loops": 7}, 400, "depth 16 is more .* at most loops 6"),
        (sound(np.ones(9000)), {"loops": 10**12}, 400, "at most loops 6"),
        (sound(np.ones(9000)), {"depth": 10**12}, 400, "at most loops 6"),
        (sound(np.ones(9000)), {"depth": 9}, 400, "depth 9: no path"),
        (sound(np.ones(9000)), {"loops": 1, "depth": 6}, 400, "loops 1 and depth 6: give one"),
        (sound(np.ones(9000)), {"decoder": "best"}, 400, "decoder best: the model has greedy, ngram"),
        (sound(np.ones(9000)), {"model": "whisper-1"}, 404, "no model whisper-1: this server has tiny"),
        (
            sound(np.ones(9000)),
            {"response_format": "xml"},
            400,
            "response_format: input should be 'json'",
        ),
        (sound(np.ones(9000)), {"stream": "true"}, 400, "stream: transcripts of files"),
        (
            sound(np.ones(9000)),
            {"timestamp_granularities[]": "word"},
            400,
            "response_format=verbose_json",
        ),
    ],
)
def test_mistakes_are_one_line(server, content, fields, status, said):
    response = post(server.client, content, **fields)
    assert response.status_code == status
    error = response.json()["error"]
    assert re.search(said, error["message"])
    assert "\n" not in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


def test_other_bodies_are_refused(server):
    for body in ({"json": {"file": "a"}}, {"data": {"file": "a"}}, {"content": b"\0" * 100}, {}):
        response = server.client.post(PATH, **body)
        assert response.status_code == 400
        assert "file: send a file of audio" in response.json()["error"]["message"]
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert server.client.post(PATH, content=b"garbage", headers=broken).status_code == 400
    assert server.client.get("/v1/else").json()["error"]["message"] == "Not Found"


def test_what_clients_send_besides_has_no_effect(client, speech):
    with speech[0].open("rb") as file:
        found = client.audio.transcriptions.create(
            model="tiny", file=file, language="fr", prompt="a", temperature=0.3
        )
    assert found.text == ask(client, speech[0], "json").text
    assert ask(client, speech[0], language="fr").language == "fr"


def test_errors_are_those_of_the_client(client, speech, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(openai.BadRequestError, match="cannot be read as audio"):
        ask(client, tmp_path / "text.wav")
    with pytest.raises(openai.NotFoundError, match="no model other"):
        client.models.retrieve("other")


def test_models_and_health(server, client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").object == "model"
    facts = server.client.get("/health").json()
    assert facts["depths"] == [1, 2, 3, 4, 5, 6]
    assert (facts["axis"], facts["trained"], facts["decoder"]) == ("loops", 3, "greedy")
    assert facts["decoders"] == ["greedy", "ngram", "joint"]
    assert not facts["streaming"]
    assert facts["limits"]["seconds"] == 60.0


class TestUploads:
    """What is too large, too slow or cut short."""

    def test_a_length_that_is_too_large_is_refused_at_once(self, server):
        response = post(server.client, bytes(1_000_001))
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "request_too_large"

    def test_so_are_chunks_of_no_known_length(self, server):
        def chunks():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(20):
                yield bytes(100_000)
            yield b"\r\n--x--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=x"}
        response = server.client.post(PATH, content=chunks(), headers=headers)
        assert response.status_code == 413
        assert response.json()["error"]["param"] == "file"

    def test_an_upload_that_stalls(self, serving, speech):
        with serving(upload_seconds=0.2) as server:
            host, port = server.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), 10) as raw:
                head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                raw.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
                assert raw.recv(100).startswith(b"HTTP/1.1 408 ")
            assert post(server.client, speech[0].read_bytes()).status_code == 200

    def test_a_client_that_leaves_while_it_sends(self, server, speech):
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as raw:
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            raw.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
        assert post(server.client, speech[0].read_bytes()).status_code == 200


class TestConcurrency:
    """Requests that wait, leave, or are too many."""

    def test_a_request_too_many(self, serving, held, until, speech):
        with serving(concurrent=1) as server, ThreadPoolExecutor(1) as pool:
            with held(server.service):
                first = pool.submit(post, server.client, speech[0].read_bytes())
                until(lambda: server.service.batcher.count)
                response = httpx.post(f"{server.url}{PATH}", files={"file": b"a"})
                assert response.status_code == 429
                assert int(response.headers["retry-after"]) >= 1
                assert response.json()["error"]["code"] == "rate_limit_exceeded"
                assert httpx.get(f"{server.url}/health").status_code == 200
            assert first.result().status_code == 200
            assert post(server.client, speech[0].read_bytes()).status_code == 200

    def test_who_leaves_the_queue_is_not_transcribed(self, server, held, until, speech, monkeypatch):
        ran = []
        run = server.service.asr.transcribe
        monkeypatch.setattr(
            server.service.asr, "transcribe", lambda signals, *a: ran.extend(signals) or run(signals, *a)
        )
        with held(server.service):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{server.url}{PATH}", files={"file": speech[0].read_bytes()}, timeout=0.3)
            until(lambda: not server.service.batcher.count)
        assert ran == []
        assert post(server.client, speech[0].read_bytes()).status_code == 200
        assert len(ran) == 1

    def test_a_server_that_is_stopped_finishes_what_runs(self, serving, held, until, speech):
        with serving() as server, ThreadPoolExecutor(1) as pool:
            with held(server.service):
                answer = pool.submit(post, server.client, speech[0].read_bytes())
                until(lambda: server.service.batcher.count)
                server.stop()
                until(lambda: not answers(server.url))
            assert answer.result().json()["text"]

    def test_a_file_that_the_model_lacks_is_not_named(self, server, speech):
        response = post(server.client, speech[0].read_bytes(), decoder="ngram")
        assert response.status_code == 500
        assert "arpa" not in response.text

    def test_a_failure_is_logged_and_the_next_request_answered(self, server, speech, monkeypatch):
        def fail(*_):
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(server.service.asr, "transcribe", fail)
            response = post(server.client, speech[0].read_bytes())
        assert response.status_code == 500
        assert response.headers["connection"] == "close"
        error = response.json()["error"]
        assert (error["type"], error["code"]) == ("server_error", "internal_error")
        assert "memory" not in error["message"]
        assert post(server.client, speech[0].read_bytes()).status_code == 200


class TestGate:
    """Who may ask."""

    def test_a_key(self, serving, speech):
        with serving(key="secret") as server:
            content = speech[0].read_bytes()
            for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret2"}):
                response = server.client.post(PATH, files={"file": content}, headers=headers)
                assert response.status_code == 401
                assert response.json()["error"]["code"] == "invalid_api_key"
                assert server.client.get("/v1/models", headers=headers).status_code == 401
            assert server.client.get("/health").json()["key"]
            assert server.client.get("/").status_code == 200
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret") as client:
                assert ask(client, speech[0]).text

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Host": "evil.example"}, 421),
            ({"Host": "127.0.0.1.evil.example:80"}, 421),
            ({"Host": "[::1"}, 421),
            ({"Host": "localhost:8000"}, 200),
            ({"Host": "[::1]:8000"}, 200),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ],
    )
    def test_pages_of_other_sites(self, server, headers, status):
        assert server.client.get("/v1/models", headers=headers).status_code == status

    def test_nothing_is_shared_with_other_origins(self, server):
        response = server.client.get("/v1/models")
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert "default-src 'none'" in response.headers["content-security-policy"]


def test_the_page_names_no_other_host(server):
    files = sorted(PAGE.iterdir())
    assert {file.suffix for file in files} == {".html", ".css", ".js", ".svg"}
    for file in files:
        assert server.client.get(f"/{file.name}").text == file.read_text()
        assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)[\w-]+\.\w", file.read_text()), file
    assert server.client.get("/").text == (PAGE / "index.html").read_text()
    for path in ("/docs", "/redoc", "/../app.py", "/%2e%2e/app.py"):
        assert server.client.get(path).status_code == 404
