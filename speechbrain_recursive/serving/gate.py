"""What is decided before a request is read: whose it is, how many there are, and how large it is."""

import asyncio
import hmac
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechbrain_recursive.serving.limits import Limits, Refused

GUARDED, COUNTED = "/v1/", "/v1/audio/"  # paths that need the key, and those that take a place
PROTOCOL, KEY = "transcribe", "key."  # subprotocols of a WebSocket: ours, and what carries the key
LINGER = 2.0  # seconds for which a refused upload is read, so that its sender gets to read the response
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; media-src blob:; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """ASGI middleware that guards the API.

    Pages of other sites cannot use it: their requests have another ``Origin``, or another ``Host`` if
    their name was rebound to this address. Where there is a key, ``Authorization: Bearer KEY`` is
    checked; the WebSocket of a browser, which cannot send it, has a subprotocol ``key.KEY``.

    Arguments
    ---------
    app : ASGI application
        What is guarded.
    limits : Limits
        What is taken from clients.
    hosts : collection of str, optional
        Names by which the server may be called; any by default.
    key : str, optional
        What clients have to know.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        hosts: Collection[str] | None = None,
        key: str | None = None,
    ):
        self.app, self.limits, self.hosts, self.key = app, limits, hosts, key
        self.count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        counted = scope["path"].startswith(COUNTED)

        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            self._check(scope, Headers(scope=scope), counted)
        except Refused as refused:
            if scope["type"] == "http" and "expect" not in Headers(scope=scope):
                await _linger(receive)
            await refused.response()(scope, receive, shielded)
            return
        self.count += counted
        try:
            limited = self._limited(receive) if counted and scope["type"] == "http" else receive
            await self.app(scope, limited, shielded)
        finally:
            self.count -= counted

    def _check(self, scope, headers, counted):
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise Refused(421, "Host: this server is not called so", "invalid_host")
        if (origin := headers.get("origin")) is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "Origin: pages of other sites may not use this server", "invalid_origin")
        if self.key and scope["path"].startswith(GUARDED) and not self._knows(headers):
            advice = "send the server's key as Authorization: Bearer KEY"
            raise Refused(401, advice, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        if counted and self.count >= self.limits.concurrent:
            wait = {"Retry-After": "1"}
            raise Refused(429, "the server is busy: try again", "rate_limit_exceeded", headers=wait)
        if counted and int(headers.get("content-length", 0)) > self.limits.bytes:
            raise self._too_large()

    def _knows(self, headers):
        given = [headers.get("authorization", "").removeprefix("Bearer ")]
        for each in headers.get("sec-websocket-protocol", "").split(","):
            if each.strip().startswith(KEY):
                given.append(each.strip()[len(KEY) :])
        return any(hmac.compare_digest(each.encode(), self.key.encode()) for each in given)

    def _limited(self, receive):
        """``receive`` for a body that may be so large, and take so long."""
        loop, size, complete = asyncio.get_running_loop(), 0, False
        end = loop.time() + self.limits.upload_seconds

        async def limited() -> Message:
            nonlocal size, complete
            if complete:  # from here on, the only message is that the client left
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), end - loop.time())
            except asyncio.TimeoutError:
                most = f"{self.limits.upload_seconds:g} s"
                raise Refused(408, f"the upload takes more than {most}", "timeout") from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > self.limits.bytes:
                if not complete:
                    await _linger(receive)
                raise self._too_large()
            return message

        return limited

    def _too_large(self):
        return Refused(413, f"more than {self.limits.bytes} bytes", "request_too_large", "file")


def _name(host):
    """The name in a Host header, without the port."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname


async def _linger(receive):
    """Read and drop the rest of a body, for some time."""

    async def rest():
        while (await receive()).get("more_body", False):
            pass

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(rest(), LINGER)
