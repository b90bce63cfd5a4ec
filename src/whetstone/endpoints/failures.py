"""The one place where an endpoint's failures become ours: exceptions of `openai` and `httpx2`, and error bodies."""

from __future__ import annotations

import email.utils
import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whetstone.errors import (
    BadReplyError,
    ContextTooLongError,
    LoginError,
    ModelConnectionError,
    ModelError,
    ModelTimeoutError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    UnknownModelError,
    UsageError,
)


@dataclass(frozen=True, slots=True)
class Site:
    """Whom was asked, for messages.

    Attributes:
        spec: the model's spec.
        base_url: the endpoint.
        timeout: seconds of silence after which it is given up.
        key_env: the environment variable that holds its key, "" where it needs none.
        api_key: the key, which no message may hold.
    """

    spec: str
    base_url: str
    timeout: float
    key_env: str = ""
    api_key: str = field(default="", repr=False)

    def hide(self, text: str) -> str:
        """The text without the key: some endpoints quote the key that they refuse."""
        return text.replace(self.api_key, "[key]") if len(self.api_key) >= 8 else text


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request.

    Attributes:
        error: what to raise.
        passing: whether asking again may help.
        retry_after: the seconds that the endpoint asked us to wait, if it did.
        unreachable: whether nobody listens there at all.
    """

    error: ModelError | UsageError
    passing: bool = False
    retry_after: float | None = None
    unreachable: bool = False


# Exceptions that carry no HTTP answer, by class name. Those that carry one (APIStatusError and below) are told apart by
# status and body, because providers disagree about statuses. A test walks both libraries for classes missing here.
EXCEPTIONS: Mapping[str, type[ModelError]] = {
    # openai
    "OpenAIError": LoginError,  # raised bare for missing or contradictory credentials
    "SubjectTokenProviderError": LoginError,
    "APIError": BadReplyError,
    "APIResponseValidationError": BadReplyError,
    "APIConnectionError": ModelConnectionError,
    "APITimeoutError": ModelTimeoutError,
    "LengthFinishReasonError": BadReplyError,
    "ContentFilterFinishReasonError": RequestRefusedError,
    "InvalidWebhookSignatureError": BadReplyError,
    "WebSocketConnectionClosedError": ModelConnectionError,
    "WebSocketQueueFullError": ModelConnectionError,
    # httpx2, met while a stream is read
    "HTTPError": ModelConnectionError,
    "RequestError": ModelConnectionError,
    "TransportError": ModelConnectionError,
    "TimeoutException": ModelTimeoutError,
    "ConnectTimeout": ModelTimeoutError,
    "ReadTimeout": ModelTimeoutError,
    "WriteTimeout": ModelTimeoutError,
    "PoolTimeout": ModelTimeoutError,
    "NetworkError": ModelConnectionError,
    "ConnectError": ModelConnectionError,
    "ReadError": ModelConnectionError,
    "WriteError": ModelConnectionError,
    "CloseError": ModelConnectionError,
    "ProtocolError": ModelConnectionError,
    "LocalProtocolError": ModelConnectionError,
    "RemoteProtocolError": ModelConnectionError,
    "ProxyError": ModelConnectionError,
    "UnsupportedProtocol": ModelConnectionError,
    "DecodingError": BadReplyError,
    "TooManyRedirects": ModelConnectionError,
    "HTTPStatusError": ModelConnectionError,
    "InvalidURL": ModelConnectionError,
    "SSEError": BadReplyError,
    "StreamError": ModelConnectionError,
    "StreamConsumed": ModelConnectionError,
    "StreamClosed": ModelConnectionError,
    "ResponseNotRead": ModelConnectionError,
    "RequestNotRead": ModelConnectionError,
    # the standard library, let through by both
    "SSLError": ModelConnectionError,
    "SSLCertVerificationError": ModelConnectionError,
    "EndOfStream": ModelConnectionError,
    "OSError": ModelConnectionError,
    "ValueError": BadReplyError,  # broken JSON, broken UTF-8, an event of another shape
}

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|string_above_max_length"  # OpenAI, Groq; llama.cpp
    r"|maximum (?:context|model) length|context (?:length|size|window|limit)[^.]{0,40}exceed"  # vLLM, DeepSeek
    r"|exceeds?[^.]{0,60}context (?:length|size|window|limit)|prompt is too long"  # llama.cpp, Ollama; Anthropic
    r"|exceeds the maximum number of tokens allowed"  # Gemini
    r"|(?:greater|longer|larger) than the context length|reduce the length of the messages",  # LM Studio; Groq
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"insufficient_quota|billing_hard_limit|billing_not_active|credit balance is too low"
    r"|insufficient (?:balance|credits|funds)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|model[^.]{0,120}(?:not found|not exist|is not available)|not a valid model|no endpoints found",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"invalid_api_key|API_KEY_INVALID|(?:API|access) key (?:not valid|not found)", re.IGNORECASE)
_FLAGGED = re.compile(r"moderation|flagged", re.IGNORECASE)


def from_exception(error: Exception, site: Site) -> Failure:
    """The failure that an exception of `openai` or `httpx2` means."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return from_answer(error.response.status_code, error.body, site, dict(error.response.headers))
    kinds = (EXCEPTIONS[c.__name__] for c in type(error).__mro__ if c.__name__ in EXCEPTIONS)
    kind = next(kinds, ModelConnectionError)
    if kind is ModelTimeoutError:
        return Failure(
            ModelTimeoutError(
                f"{site.spec}: no answer from {site.base_url} within {site.timeout:g} s; "
                "give it more time with the option timeout=SECONDS"
            ),
            passing=True,
        )
    cause = _deepest(error)
    reason = site.hide(str(cause) or type(cause).__name__)
    if kind is ModelConnectionError:
        if isinstance(cause, ConnectionRefusedError):
            return Failure(
                ModelConnectionError(f"{site.spec}: nothing listens at {site.base_url}; is the server running?"),
                passing=True,
                unreachable=True,
            )
        if isinstance(cause, socket.gaierror):
            return Failure(
                ModelConnectionError(
                    f"{site.spec}: the address {site.base_url} is not known; check it, and the network"
                ),
                passing=True,
                unreachable=True,
            )
        return Failure(ModelConnectionError(f"{site.spec}: the connection to {site.base_url} failed: {reason}"), True)
    if kind is BadReplyError:
        return Failure(BadReplyError(f"{site.spec}: {site.base_url} sent something that is no reply: {reason}"))
    return Failure(kind(f"{site.spec}: {reason}"))


def from_answer(status: int | None, body: object, site: Site, headers: Mapping[str, str] | None = None) -> Failure:
    """The failure that an error answer means.

    Args:
        status: the HTTP status; None when the error came inside a stream that had begun well.
        body: the answer's JSON, or its text.
        site: whom was asked.
        headers: the answer's headers, with names in lower case.
    """
    headers = headers or {}
    said, code = _what_it_says(body)
    said = site.hide(said)
    everything = f"{code} {said}"
    if status is None and code.isdigit():
        status = int(code)
    told = f"{site.spec}: {site.base_url} answered" + (f" {status}" if status else "") + (f": {said}" if said else "")
    if _TOO_LONG.search(everything) or status == 413:
        return Failure(ContextTooLongError(f"{told}; shorten the prompt, or lower max_tokens"))
    if status == 402 or _NO_CREDIT.search(everything):
        return Failure(QuotaError(f"{told}; add credit to the account, or use another model"))
    if _NO_MODEL.search(everything):
        return Failure(UnknownModelError(f"{told}; check the model's name"))
    if status == 403 and _FLAGGED.search(said):
        return Failure(RequestRefusedError(told))
    if status in (401, 403) or _BAD_KEY.search(everything):  # Gemini refuses a key with 400
        remedy = (
            f"check the key in {site.key_env}" if site.key_env else "name the variable that holds a key: key_env=NAME"
        )
        return Failure(LoginError(f"{told}; {remedy}"))
    if status == 404:
        return Failure(ModelConnectionError(f"{told}; base_url must lead to the API, and usually ends in /v1"))
    if re.search(r"unsupported_(?:value|parameter)", code):  # of OpenAI's reasoning models; concerns every request
        return Failure(UsageError(f"{told}; leave that option out with omit=NAME in the model's spec"))
    wait = retry_after(headers)
    advised = headers.get("x-should-retry")
    if status == 429 or re.search(r"rate.?limit|too many requests|RESOURCE_EXHAUSTED", everything, re.IGNORECASE):
        lower = "; lower the option concurrency, or try again later"
        return Failure(RateLimitError(told + lower), advised != "false", wait)
    if status is None or status >= 500 or status in (408, 409, 425):
        passing = advised == "true" or (advised != "false" and status != 501)
        kind = ModelTimeoutError if status in (408, 504) else ModelConnectionError
        return Failure(kind(told), passing, wait)
    return Failure(RequestRefusedError(told), advised == "true", wait)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the headers ask: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / divisor
        except (KeyError, ValueError):
            continue
        return seconds if seconds >= 0 else None  # also for nan
    try:
        when = email.utils.parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, when.timestamp() - time.time())


def _what_it_says(body: object) -> tuple[str, str]:
    """An error body's message, and its code and type."""
    if isinstance(body, list) and body:  # Gemini wraps its error in a list
        body = body[0]
    if isinstance(body, Mapping) and body.get("error"):
        body = body["error"]
    if isinstance(body, Mapping):
        parts = [body.get(name) for name in ("code", "type", "status")]
        said: Any = body.get("message") or body.get("detail") or json.dumps(body, ensure_ascii=False, default=str)
        return _short(said if isinstance(said, str) else json.dumps(said)), " ".join(str(p) for p in parts if p)
    text = str(body or "").strip()
    if text[:200].lstrip().lower().startswith(("<!doctype", "<html")):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return "a web page" + (f" titled {_short(title.group(1))!r}" if title else ""), ""
    return _short(text), ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:400] + "…"


def _deepest(error: BaseException) -> BaseException:
    """Where a chain of exceptions began. Not by `__context__`: that may lead to what the caller is just handling."""
    while True:
        inner = error.__cause__ or (error.args[0] if error.args else None)  # httpcore2 wraps, and cuts the chain
        if not isinstance(inner, BaseException):
            return error
        error = inner
