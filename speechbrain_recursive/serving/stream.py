"""A WebSocket that takes live audio and sends words as they are heard."""

import asyncio
import json
import logging
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from speechbrain_recursive.data.blocks import Resampler
from speechbrain_recursive.data.pcm import LOUDEST
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.recording import Transcript
from speechbrain_recursive.serving.batching import check_duration
from speechbrain_recursive.serving.gate import PROTOCOL
from speechbrain_recursive.serving.limits import Refused, for_clients
from speechbrain_recursive.serving.service import Service

POLICY, INTERNAL = 1008, 1011  # codes with which a WebSocket closes
FULL = 2**15  # of samples of 16 bits

logger = logging.getLogger(__name__)


class Options(BaseModel):
    """The query of a stream."""

    model_config = ConfigDict(extra="forbid")

    loops: int | None = None
    depth: int | None = None
    rate: int | None = Field(None, ge=1000, le=192000)
    format: Literal["int16", "float32"] = "int16"


async def stream(socket: WebSocket, service: Service) -> None:
    """Transcribe what a client sends, until it says ``{"type": "finish"}``.

    A message of bytes holds samples of one channel, little-endian, at the rate that the query names, by
    default the model's. Each is answered by ``{"type": "partial", "text", "words"}``, and the end by
    ``{"type": "final", "text", "words", "seconds"}``. ``{"type": "error", "error": {...}}`` says what is
    wrong, before the socket closes.

    Arguments
    ---------
    socket : WebSocket
        Not yet accepted.
    service : Service
        What transcribes.
    """
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(PROTOCOL if PROTOCOL in offered else None)
    try:
        await _transcribe(socket, service)
    except WebSocketDisconnect:
        return
    except ValidationError as error:
        first = error.errors()[0]
        await _fail(socket, Refused(400, f"{first['loc'][0]}: {first['msg']}"), POLICY)
    except UserError as error:
        await _fail(socket, Refused(400, for_clients(error)), POLICY)
    except Refused as error:
        await _fail(socket, error, POLICY)
    except Exception:
        logger.exception("a stream failed")
        await _fail(socket, Refused(500, "the server failed; its log says why"), INTERNAL)
    else:
        await socket.close()


async def _transcribe(socket, service):
    options = Options.model_validate(dict(socket.query_params))
    if service.streaming is None:
        raise UserError("this model does not stream: send whole files to /v1/audio/transcriptions")
    service.ask(options.loops, options.depth, None)
    model_rate = service.asr.model.sample_rate
    rate, count, run = options.rate or model_rate, 0, service.batcher.run
    resampler = Resampler(rate, model_rate)
    start = partial(service.streaming.start, loops=options.loops, depth=options.depth)
    session = await run(start)
    while (data := await _next(socket, service.limits.upload_seconds)) is not None:
        samples = resampler.feed(_samples(data, options.format))
        count += len(samples)
        check_duration(count / model_rate, service.limits.seconds)
        if len(samples):
            heard = await run(session.feed, samples)
            await socket.send_json({"type": "partial"} | _as_json(heard.text, heard.words))
    rest = resampler.finish()
    if len(rest):
        await run(session.feed, rest)
    found = await run(session.finish)
    seconds = {"seconds": round(found.seconds, 3)}
    await socket.send_json({"type": "final"} | _as_json(found.text, found.words) | seconds)


async def _next(socket, patience):
    """The bytes of the next message; None for the one that ends the stream."""
    try:
        message = await asyncio.wait_for(socket.receive(), patience)
    except asyncio.TimeoutError:
        raise UserError(f"no audio for {patience:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    if (data := message.get("bytes")) is not None:
        return data
    try:
        finished = json.loads(message["text"])["type"] == "finish"
    except (ValueError, KeyError, TypeError):
        finished = False
    if not finished:
        raise UserError('send bytes of audio, or the text {"type": "finish"}')


def _samples(data, form):
    """Samples [time] of a message, float32 within [-1, 1]."""
    kind = np.dtype(form).newbyteorder("<")
    if len(data) % kind.itemsize:
        raise UserError(f"{len(data)} bytes are no whole number of samples of format {form}")
    samples = np.frombuffer(data, kind).astype(np.float32)
    if form == "int16":
        samples /= FULL
    elif not np.abs(samples).max(initial=0) <= LOUDEST:  # true of NaN
        raise UserError("samples are NaN, infinite or far too large")
    return samples


def _as_json(text: str, words: list) -> dict[str, Any]:
    return {"text": text, "words": Transcript("", words=list(words)).as_dict()["words"]}


async def _fail(socket, refused, code):
    try:
        await socket.send_json({"type": "error", "error": refused.body()})
        await socket.close(code)
    except (WebSocketDisconnect, RuntimeError):  # it is gone
        pass
