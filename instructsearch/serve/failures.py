"""How the service says no: one shape for every error, the status that fits it, and no path of this machine in it.

`{"error": {"type": ..., "message": ...}}`, where the type is the name of the error's class. Knows errors and HTTP.
"""

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instructsearch import errors
from instructsearch.errors import InstructSearchError
from instructsearch.serve.workers import ClientLeft

log = logging.getLogger("instructsearch.serve")

# the nearest class above an error counts
STATUS: dict[type[InstructSearchError], int] = {
    InstructSearchError: 400,
    errors.CollectionNotFound: 404,
    errors.CollectionExists: 409,
    errors.CollectionBusy: 409,
    errors.CollectionDamaged: 500,
    errors.ViewNotFound: 404,
    errors.ViewExists: 409,
    errors.ViewMismatch: 409,
    errors.ModelNotFound: 404,
    errors.ModelDamaged: 500,
    errors.BadVector: 500,
    errors.StorageError: 507,
    errors.MissingExtra: 501,
    errors.NotOffered: 404,
    errors.Overloaded: 503,
    errors.TimedOut: 504,
    errors.TooMuch: 422,
}
_KINDS = {413: "ContentTooLarge"}  # which Python calls otherwise before 3.13
_LEFT = 499  # what servers log for a client that closed the connection; nobody reads it
_FOLDERS = re.compile(r"(?<![\w.~-])/(?:[^\s/'\"<>|:;,()\[\]]+/)+")


class Busy(errors.CollectionBusy):
    """A job is at work on the collection; carries its id."""

    def __init__(self, message: str, job: str) -> None:
        super().__init__(message)
        self.job = job


class Failures:
    """Makes errors into answers. `root` is cut out of their messages."""

    def __init__(self, root: Path) -> None:
        self._known = sorted({f"{one}/" for one in (root, root.absolute(), root.resolve())}, key=len, reverse=True)

    def message(self, error: BaseException | str) -> str:
        """Return what an error says, without folders of this machine, on one line."""
        text = " ".join(str(error).split())
        for folder in self._known:
            text = text.replace(folder, "")
        return _FOLDERS.sub("", text)

    def told(self, error: InstructSearchError) -> dict[str, Any]:
        """Return an error as it is told, below the key `error`."""
        kind = errors.CollectionBusy if isinstance(error, Busy) else type(error)
        job = {"job": error.job} if isinstance(error, Busy) else {}
        return {"type": kind.__name__, "message": self.message(error), **job}

    def install(self, app: FastAPI) -> None:
        """Let the application answer errors this way."""
        app.add_exception_handler(InstructSearchError, self._refused)
        app.add_exception_handler(RequestValidationError, self._invalid)
        app.add_exception_handler(HTTPException, self._http)
        app.add_exception_handler(ClientLeft, self._left)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, InstructSearchError)
        code = status(error)
        if code >= 500:
            log.error("%s %s: %s", request.method, request.url.path, error)
        headers = {"Retry-After": "1"} if code in (409, 503) else None
        return JSONResponse({"error": self.told(error)}, code, headers)

    async def _invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return refusal(422, "InvalidRequest", "; ".join(_problems(error.errors())))

    async def _http(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        message = error.detail if error.detail != phrase else f"{phrase}: {request.method} {request.url.path[:200]}"
        kind = _KINDS.get(error.status_code, phrase.title().replace(" ", ""))
        return refusal(error.status_code, kind, message, dict(error.headers or {}))

    async def _left(self, request: Request, error: Exception) -> Response:
        return Response(status_code=_LEFT)


class Unforeseen:
    """ASGI middleware that logs what nobody foresaw, and answers with 500 and nothing of what it says.

    Not an exception handler: Starlette raises the error again after such a handler has answered, and uvicorn then
    closes a connection that it has just promised to keep; the client's next request on it would be lost.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; where the answer has begun already, all that is left is to cut it off."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            if scope["type"] != "http" or begun:
                raise
            log.exception("%s %s", scope["method"], scope["path"])
            told = "something went wrong that should not have; the server's log says what"
            await refusal(500, "InternalError", told)(scope, receive, send)


def refusal(code: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an answer in the shape of an error."""
    return JSONResponse({"error": {"type": kind, "message": message}}, code, headers)


def status(error: InstructSearchError) -> int:
    """Return the HTTP status that fits an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def _problems(found: Sequence[Any]) -> list[str]:
    """Return what is wrong with a request, field by field; what was sent is not repeated."""
    told = []
    for one in found[:5]:
        where = ".".join(str(part)[:40] for part in one["loc"])
        told.append(f"{where}: {str(one['msg'])[:200]}")
    return told + ([f"and {len(found) - 5} more"] if len(found) > 5 else [])
