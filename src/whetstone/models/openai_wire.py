"""The OpenAI wire form of chats and completions: our options as a request, and streamed events as our chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from whetstone.types import Chunk, Message, Options, TokenLogprob, ToolCall, Usage
from whetstone.types.chat import FinishReason

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_UNFINISHED = {"error", "insufficient_system_resource"}  # OpenRouter, DeepSeek: it broke off


def request_body(
    name: str, messages: Sequence[Message], options: Options, max_tokens_field: MaxTokensField
) -> dict[str, Any]:
    """The request that asks for a streamed chat reply with usage counts."""
    body = {"model": name, "messages": list(messages), **_sampling(options, max_tokens_field)}
    if options.json_schema is not None:
        schema = {"name": "reply", "schema": options.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if options.top_logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = options.top_logprobs
    if options.tools:
        body["tools"] = list(options.tools)
        choice = options.tool_choice
        if choice in ("auto", "none", "required"):
            body["tool_choice"] = choice
        elif choice is not None:
            body["tool_choice"] = {"type": "function", "function": {"name": choice}}
    return body


def completion_body(name: str, prompt: str | Sequence[int], options: Options) -> dict[str, Any]:
    """The request that asks for a streamed continuation of a prompt, with usage counts."""
    prompt = prompt if isinstance(prompt, str) else [int(token) for token in prompt]
    body = {"model": name, "prompt": prompt, **_sampling(options, "max_tokens")}
    if options.top_logprobs is not None:
        body["logprobs"] = options.top_logprobs
    return body


def _sampling(options: Options, max_tokens_field: MaxTokensField) -> dict[str, Any]:
    body: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    for field in ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty"):
        if (value := getattr(options, field)) is not None:
            body[field] = value
    if options.max_tokens is not None:
        body[max_tokens_field] = options.max_tokens
    if options.stop:
        body["stop"] = list(options.stop)
    return body


class WholeCharacters:
    """Joins surrogate halves: some endpoints cut their JSON strings inside a character outside the basic plane."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """What can be shown so far; a trailing half is kept for the next piece."""
        if not self._half and (not text or not _SURROGATE.search(text)):
            return text
        text = self._half + text
        self._half = ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def finish(self) -> str:
        """A half that never met its other half, as the replacement character."""
        half, self._half = self._half, ""
        return "�" if half else ""


_SURROGATE = re.compile("[\ud800-\udfff]")


class Assembler:
    """Turns the events of one stream into chunks.

    Attributes:
        any_event: whether anything came.
        any_choice: whether any part of a reply came.
        finished: whether the endpoint said that the reply is complete.
    """

    def __init__(self) -> None:
        self.any_event = False
        self.any_choice = False
        self.finished = False
        self._text = WholeCharacters()
        self._reasoning = WholeCharacters()
        self._calls: list[dict[str, str]] = []
        self._call_at: dict[int, dict[str, str]] = {}
        self._finish_reason: FinishReason | None = None
        self._usage: Usage | None = None

    def feed(self, event: Mapping[str, Any]) -> list[Chunk]:
        """The chunks that an event completes: none or one.

        Raises:
            ValueError: the event is not one of a completion.
        """
        try:
            return self._feed(event)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(event)[:200]} ({type(error).__name__}: {error})") from error

    def _feed(self, event: Mapping[str, Any]) -> list[Chunk]:
        self.any_event = True
        choices = event.get("choices")
        if not isinstance(choices, list):
            raise ValueError(f"an event without choices: {str(event)[:200]}")
        counts = event.get("usage") or (event.get("x_groq") or {}).get("usage")
        if counts:
            self._usage = _usage(counts)
        if not choices:
            return []
        self.any_choice = True
        choice = choices[0]
        delta = choice.get("delta") or {}
        for call in delta.get("tool_calls") or ():
            self._feed_call(call)
        chunk = Chunk(
            # `text` is what an event of a plain completion holds instead of a delta.
            text=self._text.feed(
                _text(delta.get("content")) or _text(delta.get("refusal")) or _text(choice.get("text"))
            ),
            reasoning=self._reasoning.feed(_text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))),
            logprobs=_logprobs(choice.get("logprobs")),
        )
        reason = choice.get("finish_reason")
        if reason is not None and reason not in _UNFINISHED:
            self.finished = True
            self._finish_reason = _FINISH.get(str(reason), "stop")
        return [chunk] if chunk.text or chunk.reasoning or chunk.logprobs else []

    def _feed_call(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index") or 0
        function = piece.get("function") or {}
        call = self._call_at.get(index)
        # Gemini numbers all of its parallel calls 0 and tells them apart by id.
        if call is None or (piece.get("id") and call["id"] and piece["id"] != call["id"]):
            call = {"id": "", "name": "", "arguments": ""}
            self._calls.append(call)
            self._call_at[index] = call
        call["id"] = call["id"] or _text(piece.get("id"))
        call["name"] = call["name"] or _text(function.get("name"))
        call["arguments"] += _text(function.get("arguments"))

    def finish(self) -> Chunk:
        """The last chunk: tool calls, finish reason, usage."""
        calls = [
            ToolCall(call["id"] or f"call_{number}", call["name"], call["arguments"])
            for number, call in enumerate(self._calls)
        ]
        return Chunk(
            text=self._text.finish(),
            reasoning=self._reasoning.finish(),
            tool_calls=tuple(calls),
            finish_reason=self._finish_reason,
            usage=self._usage,
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _usage(data: Mapping[str, Any]) -> Usage:
    details = data.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or data.get("prompt_cache_hit_tokens") or 0  # the latter: DeepSeek
    return Usage(int(data.get("prompt_tokens") or 0), int(data.get("completion_tokens") or 0), int(cached))


def _logprobs(data: object) -> tuple[TokenLogprob, ...]:
    if not isinstance(data, Mapping):
        return ()
    if data.get("tokens"):
        return _completion_logprobs(data)
    return tuple(
        TokenLogprob(
            text=entry["token"],
            logprob=float(entry["logprob"]),
            token_id=entry.get("id"),  # llama.cpp
            top=tuple((other["token"], float(other["logprob"])) for other in entry.get("top_logprobs") or ()),
        )
        for entry in data.get("content") or ()
    )


def _completion_logprobs(data: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    """Log-probabilities in the older form of plain completions; llama.cpp sends the form of chats there as well."""
    tokens = data["tokens"]
    tops = data.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        TokenLogprob(token, float(logprob), top=tuple((other, float(value)) for other, value in (top or {}).items()))
        for token, logprob, top in zip(tokens, data["token_logprobs"], tops, strict=True)
        if logprob is not None  # of an echoed prompt's first token
    )
