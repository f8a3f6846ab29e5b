"""Runs a server until it is told to stop."""

import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from speechbrain_recursive.errors import UserError

KEY = "SPEECHBRAIN_RECURSIVE_API_KEY"  # of the environment: command lines are seen by other users
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GRACE = 30  # seconds to finish what runs

logger = logging.getLogger(__name__)


def api_key() -> str | None:
    """The key that clients have to know, from the environment; None if there is none.

    Raises
    ------
    UserError
        If it is empty, or has characters that a header cannot carry.
    """
    key = os.environ.get(KEY)
    if key is not None and not (key.isascii() and key.isprintable() and key and " " not in key):
        raise UserError(
            f"{KEY} must be one word of ASCII characters; unset it for a server without a key"
        )
    return key


def listen(host: str = "127.0.0.1", port: int = 8000) -> socket.socket:
    """Open the port.

    Arguments
    ---------
    host : str
        A name or an address of this machine.
    port : int
        0 for a free one.

    Raises
    ------
    UserError
        If there is no such address, or the port is taken.

    Example
    -------
    >>> with listen(port=0) as server:
    ...     server.getsockname()[0]
    '127.0.0.1'
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: {reason}") from None


def run(app: FastAPI, server: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM: then take no more requests, and finish those that were taken."""
    config = uvicorn.Config(
        app, timeout_graceful_shutdown=GRACE, server_header=False, ws_max_size=2**20, proxy_headers=False
    )
    uvicorn.Server(config).run(sockets=[server])


def hosts_of(host: str, key: str | None, more: Iterable[str] = ()) -> set[str] | None:
    """The names by which a server may be called.

    Arguments
    ---------
    host : str
        Where it listens.
    key : str or None
        What clients have to know; without one, a server for other machines is warned of.
    more : iterable of str
        Names by which a proxy on this machine calls it.

    Returns
    -------
    set of str or None
        Of a server that listens on this machine alone; None for one that may be called anything.

    Example
    -------
    >>> sorted(hosts_of("127.0.0.2", None, ["speech.example"]))
    ['127.0.0.1', '127.0.0.2', '::1', 'localhost', 'speech.example']
    """
    with suppress(ValueError):
        if host in LOOPBACK or ip_address(host).is_loopback:
            return {*LOOPBACK, host, *more}
    if key is None:
        logger.warning("whoever reaches %s can use this server: set %s to ask for a key", host, KEY)
    return None
