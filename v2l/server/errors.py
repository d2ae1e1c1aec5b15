"""a failure ──► a status and a body in OpenAI's error format, without a path, a key or a prompt in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from v2l.errors import V2LError

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
CODES = {
    400: "bad_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    429: "too_many_requests",
    502: "upstream_failed",
    503: "not_ready",
    504: "upstream_timeout",
}
PATH = re.compile(r"(?<![\w:/.~])(?:~|[A-Za-z]:\\|/)(?:[\w.@+ -]+[/\\])+[\w.@+-]*")
LONGEST = 500  # characters of a message


class ApiError(Exception):
    """A request that cannot be served.

    Args:
        status: of HTTP.
        message: a sentence for people.
        param: the field of the request that is at fault.
        code: a word for programs; None is the status's own.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or CODES.get(status)
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI's servers write it."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        message = clean(self.message)
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The answer to send."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="v2l: any name, the API key as the password"'
        return JSONResponse(self.body, self.status, headers)


def clean(message: str) -> str:
    """A message that may leave the machine: one line, valid text, no absolute path, not too long."""
    text = message[: 4 * LONGEST].encode("utf-8", "replace").decode()
    line = " ".join(PATH.sub("…", text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def refused(error: V2LError, param: str | None = None) -> ApiError:
    """What the user can repair, without the advice, which is about the command line."""
    allowed = f"; allowed: {error.allowed}" if error.allowed else ""
    too_long = "reads at once" in error.got
    return ApiError(400, error.got + allowed, param, "context_length_exceeded" if too_long else None)


def unsupported(name: str, reason: str) -> ApiError:
    """A field of OpenAI's protocol that this server does not have."""
    return ApiError(400, f"{name} is not supported: {reason}", name, "unsupported_parameter")


def add_error_handlers(app: FastAPI) -> None:
    """Let every refusal of an application have OpenAI's format."""

    async def on_api_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def on_v2l_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, V2LError)
        return refused(error).response()

    async def on_invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return invalid(error.errors()[0]).response()

    async def on_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return ApiError(error.status_code, str(error.detail)).response()

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(V2LError, on_v2l_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def invalid(problem: Mapping[str, Any]) -> ApiError:
    """The first problem that pydantic found in a request; the value itself is not repeated."""
    place = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query"))[:100]
    message = problem["msg"] if place else "the body is no JSON of the documented form, or is empty"
    if problem["type"] == "json_invalid":
        return ApiError(400, f"the body is no JSON (at character {place})", None, "invalid_json")
    return ApiError(400, f"{place}: {message}" if place else message, place or None, "invalid_value")
