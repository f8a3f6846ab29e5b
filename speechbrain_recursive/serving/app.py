"""The routes of a server: OpenAI's API for transcription, its state, and the page."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, File, Request, UploadFile, WebSocket
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from speechbrain_recursive import __version__
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.serving.answers import respond
from speechbrain_recursive.serving.gate import Gate
from speechbrain_recursive.serving.limits import Refused, for_clients
from speechbrain_recursive.serving.service import Service
from speechbrain_recursive.serving.stream import stream

PAGE = Path(__file__).with_name("page")
GONE = 499  # a client that left does not read the status; logs show it


class Transcription(BaseModel):
    """The form of a request for a transcription."""

    model_config = ConfigDict(extra="forbid")

    file: UploadFile
    model: str | None = Field(None, description="The name that /v1/models gives; may be left out.")
    response_format: Literal["json", "verbose_json", "text", "srt", "vtt"] = "json"
    granularities: list[Literal["word", "segment"]] | None = Field(
        None, alias="timestamp_granularities[]", description="For verbose_json; segments by default."
    )
    loops: int | None = Field(None, description="Loop count of the blocks that recur.")
    depth: int | None = Field(None, description="Logical depth, in place of a loop count.")
    decoder: str | None = Field(None, description="By default the best of the report at this depth.")
    language: str | None = Field(None, description="Returned as it is: the model has one language.")
    prompt: str | None = Field(None, description="Accepted from clients that send it; has no effect.")
    temperature: float | None = Field(None, description="Accepted likewise: nothing is sampled.")
    stream: bool = Field(False, description="Not for files: streams are at /v1/audio/stream.")


def create_app(
    service: Service, hosts: Collection[str] | None = None, key: str | None = None
) -> FastAPI:
    """The ASGI application of a service.

    Arguments
    ---------
    service : Service
        What answers.
    hosts, key
        See :class:`~speechbrain_recursive.serving.gate.Gate`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.batcher.close()

    # FastAPI's pages of documentation load scripts from another host
    app = FastAPI(
        title="speechbrain-recursive",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Gate, limits=service.limits, hosts=hosts, key=key)
    model = {"id": service.name, "object": "model", "created": int(time.time()), "owned_by": "user"}

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _invalid(error).response()

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> Response:
        return Refused(400, for_clients(error)).response()

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        known = isinstance(error, Refused)
        return (error if known else Refused(error.status_code, error.detail)).response()

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:  # the traceback is logged
        message = "the server failed; its log says why"
        closes = {"Connection": "close"}  # which uvicorn does after an exception
        return Refused(500, message, "internal_error", headers=closes).response()

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse(service.facts() | {"key": key is not None})

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> Response:
        _check_model(service, name)
        return JSONResponse(model)

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(request: Request, form: Annotated[Transcription, File()]) -> Response:
        if form.model:
            _check_model(service, form.model)
        if form.granularities and form.response_format != "verbose_json":
            message = "timestamp_granularities needs response_format=verbose_json"
            raise Refused(400, message, param="timestamp_granularities")
        if form.stream:
            message = "stream: transcripts of files are not streamed; /v1/audio/stream takes live audio"
            raise Refused(400, message, "unsupported_value", "stream")
        ask = service.ask(form.loops, form.depth, form.decoder)
        answer = await _unless_gone(request, service.transcribe(form.file.file, ask))
        if answer is None:
            return Response(status_code=GONE)
        granularities = form.granularities or ["segment"]
        return respond(service, answer, form.response_format, granularities, form.language)

    @app.websocket("/v1/audio/stream")
    async def live(socket: WebSocket) -> None:
        await stream(socket, service)

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _check_model(service, name):
    if name != service.name:
        message = f"no model {name}: this server has {service.name}"
        raise Refused(404, message, "model_not_found", "model")


def _invalid(error):
    """The first mistake in a form."""
    first = error.errors()[0]
    param = str(first["loc"][1]) if len(first["loc"]) > 1 else None
    if first["type"] == "extra_forbidden":
        known = ", ".join(field.alias or name for name, field in Transcription.model_fields.items())
        return Refused(400, f"{param}: no such field; there is {known}", "unknown_parameter", param)
    if first["type"] == "missing" or param == "file":
        return Refused(400, f"{param}: send a file of audio, as multipart/form-data", None, param)
    message = f"{param}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return Refused(400, message, "invalid_value", param)


async def _unless_gone(request, work):
    """The result of a coroutine, which is cancelled if the client leaves; None if it does."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_leaves(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.wait({task, gone})


async def _leaves(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass
