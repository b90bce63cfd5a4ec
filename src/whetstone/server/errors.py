"""Errors in OpenAI's wire form: what each of ours becomes, and the handlers that let nothing else get out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whetstone.errors import (
    BadReplyError,
    ContextTooLongError,
    LoginError,
    MissingPackageError,
    ModelConnectionError,
    ModelError,
    ModelFileError,
    ModelTimeoutError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    UnknownModelError,
    UnknownNameError,
    UsageError,
    WhetstoneError,
)
from whetstone.server.encoding import dumps

log = logging.getLogger("whetstone.server")

INVALID = "invalid_request_error"
SERVER = "server_error"


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="one sentence: what was found, and what to do")
    type: str = Field(description="the kind of error")
    param: str | None = Field(description="the field of the request that it is about")
    code: str | None = Field(description="the error, for programs")


class ErrorBody(BaseModel):
    """How every error is answered."""

    error: ErrorDetail


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        message: one sentence.
        kind: OpenAI's `type`.
        param: the field of the request that it is about.
        code: OpenAI's `code`.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        detail = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": detail}

    def response(self) -> Response:
        """The answer."""
        return Response(dumps(self.body), self.status, self.headers, "application/json")


def refused(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that cannot be served as it is."""
    return ApiError(400, message, param=param, code=code)


# The first class that fits decides. An upstream that refuses our key is our trouble, not the caller's: no 401.
_TABLE: Sequence[tuple[type[WhetstoneError], int, str, str | None]] = (
    (ContextTooLongError, 400, INVALID, "context_length_exceeded"),
    (UnknownModelError, 404, INVALID, "model_not_found"),
    (UnknownNameError, 400, INVALID, None),
    (RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (QuotaError, 429, "insufficient_quota", "insufficient_quota"),
    (LoginError, 502, SERVER, "upstream_login_failed"),
    (ModelTimeoutError, 504, SERVER, "upstream_timeout"),
    (ModelConnectionError, 502, SERVER, "upstream_unreachable"),
    (BadReplyError, 502, SERVER, "upstream_bad_reply"),
    (RequestRefusedError, 400, INVALID, "request_refused"),
    (ModelFileError, 500, SERVER, "model_not_loadable"),
    (ModelError, 502, SERVER, "model_failed"),
    (MissingPackageError, 501, SERVER, "not_installed"),
    (UsageError, 400, INVALID, None),
    (WhetstoneError, 500, SERVER, None),
)
_PARAM: Mapping[type[WhetstoneError], str] = {UnknownModelError: "model", ContextTooLongError: "messages"}


def as_api_error(error: BaseException) -> ApiError:
    """Any failure as an answer. What nobody foresaw is written to the log, and its text goes nowhere else."""
    if isinstance(error, ApiError):
        return error
    for kind, status, wire_type, code in _TABLE:
        if isinstance(error, kind):
            headers = {"Retry-After": "5"} if kind is RateLimitError else None
            param = _PARAM.get(kind)
            return ApiError(status, str(error), kind=wire_type, param=param, code=code, headers=headers)
    log.error("a request failed", exc_info=error)
    return ApiError(
        500, "Something went wrong that should not; the server's log says what", kind=SERVER, code="internal_error"
    )


def install_handlers(app: FastAPI) -> None:
    """Answer every error in OpenAI's form."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in (ApiError, WhetstoneError):
        app.add_exception_handler(kind, _on_error)


class AnswerFailures:
    """Answers what nobody foresaw.

    A handler of the framework for every exception would answer it too, and then raise it again, whereupon the server
    closes the connection under the client's next request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await as_api_error(error).response()(scope, receive, send)


async def _on_error(_: Request, error: Exception) -> Response:
    return as_api_error(error).response()


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {
        404: f"There is nothing at {request.url.path}; the API is under /v1, and /openapi.json lists it",
        405: f"{request.url.path} does not take {request.method}",
        400: "The body cannot be read as JSON in UTF-8",
    }
    message = said.get(error.status_code, str(error.detail))
    return ApiError(error.status_code, message, headers=error.headers).response()


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    # Of a field that may be one thing or another, the alternative that was read furthest is the one that was meant.
    first = max((one for one in found if one["loc"][:2] == found[0]["loc"][:2]), key=lambda one: len(one["loc"]))
    place = [part for part in first["loc"][1:] if not _is_type(part)]
    param = _path(place)
    kind = first["type"]
    if kind == "json_invalid":
        problem = first.get("ctx", {}).get("error", "")
        return refused(f"The body is no valid JSON: {problem} at character {first['loc'][-1]}").response()
    if kind == "unsupported":
        return refused(_said(first), first["ctx"]["param"], "unsupported_parameter").response()
    if not place:
        if first["loc"][:1] != ("body",) or kind in ("missing", "model_attributes_type", "model_type"):
            return refused("The body must be a JSON object, sent with Content-Type: application/json").response()
        return refused(_said(first)).response()
    if kind == "extra_forbidden":
        return refused(f"Unrecognized request argument supplied: {param}", param, "unknown_parameter").response()
    if kind == "missing":
        return refused(f"Missing required parameter: {param}", param, "missing_required_parameter").response()
    return refused(f"{param}: {_said(first)}", param, "invalid_value").response()


def _said(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Value error, ")


_TYPES = {"str", "int", "float", "bool", "none", "ToolChoice", "literal"}


def _is_type(part: object) -> bool:
    """Whether a part of a location names an alternative of a union instead of a field."""
    return isinstance(part, str) and (part in _TYPES or "[" in part or "-" in part)


def _path(place: Sequence[object]) -> str:
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
