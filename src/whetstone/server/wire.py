"""Replies in OpenAI's wire form: whole, and as server-sent events.

An event's envelope is made once for each answer. A chunk of text then costs one JSON string.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, Protocol

from whetstone.server.annotations import annotations_of
from whetstone.server.encoding import dumps, text, utf8
from whetstone.types import Chunk, Reply, TokenLogprob, ToolCall, Usage

DONE = b"data: [DONE]\n\n"
PING = b": still at it\n\n"
_IMPOSSIBLE = -9999.0  # how OpenAI writes the logarithm of nothing, which JSON cannot hold


class Form(Protocol):
    """How one kind of completion looks on the wire."""

    object: str
    event_object: str

    def prefix(self) -> str:
        """The beginning of an id."""
        ...

    def choice(self, index: int, reply: Reply) -> dict[str, Any]:
        """A whole answer."""
        ...

    def events(self, envelope: Envelope, index: int) -> Events:
        """Makes the events of one answer."""
        ...


class Events(Protocol):
    """Makes the events of one answer out of its chunks."""

    def __call__(self, chunk: Chunk) -> bytes | None: ...

    def end(self) -> bytes | None:
        """The event that is due when the stream ended without saying why."""
        ...


class Envelope:
    """What all parts of one response share.

    Args:
        kind: the `object` of what is sent.
        model: the model's name as it was asked for.
        prefix: the beginning of its id.
        with_usage: whether token counts come at the end of a stream.
    """

    def __init__(self, kind: str, model: str, prefix: str, with_usage: bool = False) -> None:
        self.fields: dict[str, Any] = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
        }
        self._before = f'data: {text(self.fields)[:-1]},"choices":['
        self._after = ("]" + (',"usage":null' if with_usage else "") + "}\n\n").encode()

    def around(self, choice_start: str) -> tuple[str, bytes]:
        """What comes before and after the rest of a choice that begins so."""
        return self._before + choice_start, self._after

    def usage_event(self, usage: Usage) -> bytes:
        """The event that carries the token counts."""
        return b"data: " + dumps({**self.fields, "choices": [], "usage": usage_json(usage)}) + b"\n\n"


class ChatForm:
    """Chat completions.

    Args:
        top: how many alternatives to each token were asked for; None when no log-probabilities were.
    """

    object = "chat.completion"
    event_object = "chat.completion.chunk"

    def __init__(self, top: int | None) -> None:
        self._top = top

    def prefix(self) -> str:
        """The beginning of an id."""
        return "chatcmpl"

    def choice(self, index: int, reply: Reply) -> dict[str, Any]:
        """A whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["content"] = reply.text or None
            message["tool_calls"] = [_call(call) for call in reply.tool_calls]
        if reply.citations:
            message["annotations"] = annotations_of(reply.citations)
        return {
            "index": index,
            "message": message,
            "logprobs": None if self._top is None else _chat_logprobs(reply.logprobs, self._top),
            "finish_reason": reply.finish_reason or "stop",
        }

    def events(self, envelope: Envelope, index: int) -> ChatEvents:
        """Makes the events of one answer."""
        return ChatEvents(envelope, index, self._top)


class ChatEvents:
    """Makes the events of one answer of a chat."""

    def __init__(self, envelope: Envelope, index: int, top: int | None) -> None:
        self._before, self._after = envelope.around(f'{{"index":{index},"delta":')
        self._plain_end = ',"logprobs":null,"finish_reason":null}'
        self._top = top
        self._calls = 0
        self._begun = False
        self._finished = False

    def __call__(self, chunk: Chunk) -> bytes | None:
        delta: dict[str, Any] = {}
        if chunk.reasoning:
            delta["reasoning_content"] = chunk.reasoning
        if chunk.text:
            delta["content"] = chunk.text
        if chunk.tool_calls:
            delta["tool_calls"] = [
                {"index": self._calls + number, **_call(call)} for number, call in enumerate(chunk.tool_calls)
            ]
            self._calls += len(chunk.tool_calls)
        if chunk.citations:
            delta["annotations"] = annotations_of(chunk.citations)
        event = self._begin(chunk) if not self._begun else b""
        if delta or (chunk.logprobs and self._top is not None):
            end = self._plain_end
            if self._top is not None and chunk.logprobs:
                told = text(_chat_logprobs(chunk.logprobs, self._top))
                end = f',"logprobs":{told},"finish_reason":null}}'
            event += self._event(text(delta) + end)
        if chunk.finish_reason is not None:
            event += self._finish(chunk.finish_reason)
        return event or None

    def end(self) -> bytes | None:
        """The event that is due when the stream ended without saying why."""
        return None if self._finished else (b"" if self._begun else self._begin(Chunk())) + self._finish("stop")

    def _begin(self, chunk: Chunk) -> bytes:
        self._begun = True
        content = None if chunk.tool_calls and not chunk.text else ""
        return self._event(text({"role": "assistant", "content": content}) + self._plain_end)

    def _finish(self, reason: str) -> bytes:
        self._finished = True
        return self._event(f'{{}},"logprobs":null,"finish_reason":"{reason}"}}')

    def _event(self, rest: str) -> bytes:
        return utf8(self._before + rest) + self._after


class TextForm:
    """Plain completions.

    Args:
        top: how many alternatives to each token were asked for; None when no log-probabilities were.
    """

    object = "text_completion"
    event_object = "text_completion"

    def __init__(self, top: int | None) -> None:
        self._top = top

    def prefix(self) -> str:
        """The beginning of an id."""
        return "cmpl"

    def choice(self, index: int, reply: Reply) -> dict[str, Any]:
        """A whole answer."""
        return {
            "index": index,
            "text": reply.text,
            "logprobs": None if self._top is None else _legacy_logprobs(reply.logprobs, self._top, 0),
            "finish_reason": reply.finish_reason or "stop",
        }

    def events(self, envelope: Envelope, index: int) -> TextEvents:
        """Makes the events of one answer."""
        return TextEvents(envelope, index, self._top)


class TextEvents:
    """Makes the events of one plain completion."""

    def __init__(self, envelope: Envelope, index: int, top: int | None) -> None:
        self._before, self._after = envelope.around(f'{{"index":{index},"text":')
        self._top = top
        self._offset = 0
        self._finished = False

    def __call__(self, chunk: Chunk) -> bytes | None:
        if not chunk.text and not (chunk.logprobs and self._top is not None) and chunk.finish_reason is None:
            return None
        told = "null"
        if self._top is not None and chunk.logprobs:
            told = text(_legacy_logprobs(chunk.logprobs, self._top, self._offset))
        self._offset += len(chunk.text)
        self._finished = self._finished or chunk.finish_reason is not None
        return self._event(chunk.text, told, chunk.finish_reason)

    def end(self) -> bytes | None:
        """The event that is due when the stream ended without saying why."""
        return None if self._finished else self._event("", "null", "stop")

    def _event(self, said: str, logprobs: str, reason: str | None) -> bytes:
        rest = f'{text(said)},"logprobs":{logprobs},"finish_reason":{text(reason)}}}'
        return utf8(self._before + rest) + self._after


def usage_json(usage: Usage) -> dict[str, Any]:
    """Token counts."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _chat_logprobs(tokens: Sequence[TokenLogprob], top: int) -> dict[str, Any]:
    content = [
        {
            **_token(token.text, token.logprob),
            "top_logprobs": [_token(other, logprob) for other, logprob in token.top[:top]],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _token(said: str, logprob: float) -> dict[str, Any]:
    # A replacement character stands for a token that ends inside a character; its bytes are not known here.
    known = None if "\ufffd" in said else list(said.encode("utf-8", "surrogatepass"))
    return {"token": said, "logprob": max(logprob, _IMPOSSIBLE), "bytes": known}


def _legacy_logprobs(tokens: Sequence[TokenLogprob], top: int, offset: int) -> dict[str, Any]:
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [max(token.logprob, _IMPOSSIBLE) for token in tokens],
        "top_logprobs": [{said: max(value, _IMPOSSIBLE) for said, value in token.top[:top]} for token in tokens],
        "text_offset": offsets,
    }
