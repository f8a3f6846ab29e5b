"""What a server takes from its clients, and how it refuses the rest."""

import re
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse


class Limits(NamedTuple):
    """Limits of a server.

    ``bytes`` of an upload, which may take ``upload_seconds``; ``seconds`` of a recording; ``concurrent``
    requests, those that wait included.
    """

    bytes: int = 100_000_000
    seconds: float = 3600.0
    concurrent: int = 64
    upload_seconds: float = 120.0


class Refused(HTTPException):
    """A request that is refused, in the terms of OpenAI's errors.

    Arguments
    ---------
    status : int
        Of the response.
    message : str
        One line that says what to do.
    code : str, optional
        OpenAI's name of the error.
    param : str, optional
        The field that is wrong.
    headers : dict of str to str, optional
        Of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(status, message, headers)
        self.code, self.param = code, param

    def body(self) -> dict[str, str | None]:
        """``message``, ``type``, ``param`` and ``code``."""
        kind = "invalid_request_error" if self.status_code < 500 else "server_error"
        return {"message": self.detail, "type": kind, "param": self.param, "code": self.code}

    def response(self) -> JSONResponse:
        """The response, whose ``error`` is the :meth:`body`."""
        return JSONResponse({"error": self.body()}, self.status_code, self.headers)


def for_clients(error: Exception) -> str:
    """What a UserError says, in the terms of requests: fields in place of options.

    Example
    -------
    >>> for_clients(ValueError("--loops 0: loops must be at least 1"))
    'loops 0: loops must be at least 1'
    >>> for_clients(ValueError("- cannot be read as audio: unknown format"))
    'file cannot be read as audio: unknown format'
    """
    return re.sub(r"(?<!\S)--(?=\w)", "", re.sub(r"^-(?= )", "file", str(error)))
