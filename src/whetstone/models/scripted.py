"""A model that says what was planned: for tests, for demos without a key or weights, and for trying out failures."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from whetstone.errors import BadReplyError, ContextTooLongError, RequestRefusedError
from whetstone.models.base import ReplyStream
from whetstone.models.scripted_plan import FAULTS, Fault, Planned, as_plan
from whetstone.models.scripted_tokens import END, START, WordTokenizer, pieces
from whetstone.models.tool_form import in_tool_form
from whetstone.storage.files import storage_error
from whetstone.types import Chunk, Message, ModelIdentity, Options, ToolCall, Usage, text_of, user
from whetstone.types.chat import FinishReason

Saying = Callable[[Sequence[Message]], str]


DEFAULT_CONTEXT = 4096  # tokens


class _Said(NamedTuple):
    reasoning: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    finish: FinishReason


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    messages: tuple[Message, ...]
    options: Options


class ScriptedModel:
    """A deterministic model with planned replies, delays and faults.

    A token is a word with the whitespace before it (see `WordTokenizer`): `max_tokens` cuts a reply after so many, the
    context holds so many, and usage counts them. `stop` and `top_logprobs` (made up, but always the same) are honoured.
    Where a JSON schema is asked for, planned text that is no JSON is a BadReplyError: no engine that can constrain a
    reply would say it. Other options do not change what is planned.

    Args:
        replies: texts or `Planned` replies, used as `Plan` says; or a function of the messages, which may raise a
            ModelError.
        faults: request number, from 0 in order of asking -> how that request fails.
        chunk: characters of one streamed piece.
        delay: seconds before each piece.
        concurrency: most streams that `replies` opens at once. Replies given in order need 1 to be repeatable.
        context_length: tokens of prompt and reply together; a prompt that leaves no room is a ContextTooLongError.
        log: file to which every request appends one line of JSON, safely from several processes that may be killed.
        spec: the spec in the model's identity.
        revision: what pins the replies, in the model's identity; by default the plan's digest.

    Attributes:
        asked: every request, in order of asking.
        most_open: most streams that were open at the same time.
    """

    def __init__(
        self,
        replies: Sequence[str | Planned] | Saying = (),
        *,
        faults: Mapping[int, Fault] | None = None,
        chunk: int = 8,
        delay: float = 0.0,
        concurrency: int = 1,
        context_length: int = DEFAULT_CONTEXT,
        log: Path | None = None,
        spec: str = "scripted:python",
        revision: str | None = None,
    ) -> None:
        self._say = replies if callable(replies) else None
        self._plan = as_plan(() if callable(replies) else replies, faults or {}, chunk, delay)
        self._in_order = iter([planned for planned in self._plan.replies if planned.match is None])
        name = spec.partition(":")[2].partition("?")[0]
        default_revision = "" if callable(replies) else self._plan.digest
        self.identity = ModelIdentity(spec, "scripted", name, default_revision if revision is None else revision)
        self.concurrency = concurrency
        self.context_length = context_length
        self.asked: list[Asked] = []
        self.most_open = 0
        self._open = 0
        self._tokenizer = WordTokenizer()
        self._log = log
        self._lock = threading.Lock()
        self._given: dict[str, Planned] = {}
        self._times: dict[str, int] = {}

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
        """The planned reply; see `ChatModel`."""
        return self._streamed(tuple(messages), options, self.count_tokens(messages, options))

    def complete(self, prompt: str | Sequence[int], options: Options = Options()) -> ReplyStream:  # noqa: B008
        """What is planned for a conversation that holds the prompt as its only message; see `CompletionModel`."""
        text = prompt if isinstance(prompt, str) else self.decode(prompt)
        tokens = len(self.encode(prompt)) if isinstance(prompt, str) else len(prompt)
        return self._streamed((user(text),), options, tokens)

    def render(self, messages: Sequence[Message], options: Options = Options()) -> str:  # noqa: B008
        """The messages in ChatML, up to where the reply begins. A mark that a message spells shows as itself.

        Tools are shown as they are told to models whose template has no place for them, see `tool_form`.
        """
        messages = _with_tools(messages, options)
        turns = [f"{START}{message['role']}\n{text_of(message)}" for message in messages]
        if not _continued(messages):
            turns.append(f"{START}assistant\n")
        return f"{END}\n".join(turns)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`, see `TokenizingModel`."""
        return self._tokenizer.encode(text, special=special)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, see `TokenizingModel`. Only ids that `encode` has given are known."""
        return self._tokenizer.decode(ids)

    def count_tokens(self, messages: Sequence[Message], options: Options = Options()) -> int:  # noqa: B008
        """Tokens of what `render` shows, where a mark that a message spells is a word; see `ContextModel`."""
        messages = _with_tools(messages, options)
        # By parts: a mark opens each message, and a mark and a line break end it.
        said = sum(1 + len(self.encode(f"{message['role']}\n{text_of(message)}")) for message in messages)
        between = 2 * (len(messages) - 1 if _continued(messages) else len(messages))
        return said + between + (0 if _continued(messages) else len(self.encode(f"{START}assistant\n", special=True)))

    def close(self) -> None:
        """Nothing is held."""

    def _streamed(self, messages: tuple[Message, ...], options: Options, prompt: int) -> ReplyStream:
        stopped = threading.Event()
        return ReplyStream(self._chunks(messages, options, prompt, stopped), stopped.set)

    def _chunks(
        self, messages: tuple[Message, ...], options: Options, prompt: int, stopped: threading.Event
    ) -> Generator[Chunk]:
        number = self._note(messages, options)
        try:
            planned, fault = self._plan_for(messages, number)
            delay = self._plan.delay if planned.delay is None else planned.delay
            broken = f"{self.identity.spec}: planned fault {fault}"
            if fault is not None and fault != "half_stream":
                if stopped.wait(delay):
                    return
                raise FAULTS[fault](broken)
            said = self._said(planned, messages, options, prompt)
            end = len(said.text) // 2 if fault else len(said.text)
            for chunk in self._pieces(said, end, options.top_logprobs):
                if stopped.wait(delay):
                    return
                yield chunk
            if fault is not None:
                raise FAULTS[fault](f"{broken} (after {end} characters of the reply)")
            written = (
                len(pieces(said.reasoning))
                + len(pieces(said.text))
                + sum(len(pieces(call.arguments)) for call in said.tool_calls)
            )
            yield Chunk(tool_calls=said.tool_calls, finish_reason=said.finish, usage=Usage(prompt, written))
        finally:
            with self._lock:
                self._open -= 1

    def _said(self, planned: Planned, messages: Sequence[Message], options: Options, prompt: int) -> _Said:
        """What of a planned reply this request gets."""
        room = self.context_length - prompt
        if room < 1:
            raise ContextTooLongError(
                f"{self.identity.spec}: the prompt has {prompt} tokens and the context holds {self.context_length}, "
                "reply included; shorten the prompt, or raise the option context_length"
            )
        answering = bool(messages) and messages[-1]["role"] == "tool"
        calling = options.tools and options.tool_choice != "none" and not answering
        if planned.tool_calls and calling:
            calls = [
                ToolCall(call.id or f"call_{number}", call.name, json.dumps(call.arguments, ensure_ascii=False))
                for number, call in enumerate(planned.tool_calls)
            ]
            return _Said(planned.reasoning, "", tuple(calls), "tool_calls")
        if options.json_schema is not None and not _is_json(planned.reply):
            raise BadReplyError(
                f"{self.identity.spec}: a JSON reply is asked for, and planned is {planned.reply[:80]!r}"
            )
        text, finish = _cut(planned.reply, options.stop, min(options.max_tokens or room, room))
        return _Said(planned.reasoning, text, (), finish)

    def _pieces(self, said: _Said, end: int, top_logprobs: int | None) -> Iterator[Chunk]:
        """The reasoning, then the text up to `end`, in pieces; log-probabilities come with the end of their token."""
        size = self._plan.chunk
        for start in range(0, len(said.reasoning), size):
            yield Chunk(reasoning=said.reasoning[start : start + size])
        tokens = [] if top_logprobs is None else self._tokenizer.logprobs(said.text, top_logprobs)
        ends = list(itertools.accumulate(len(token.text) for token in tokens))
        for start in range(0, end, size):
            stop = min(end, start + size)
            ended = tuple(token for token, at in zip(tokens, ends, strict=True) if start < at <= stop)
            yield Chunk(text=said.text[start:stop], logprobs=ended)

    def _note(self, messages: tuple[Message, ...], options: Options) -> int:
        """Record a request; its number."""
        with self._lock:
            self.asked.append(Asked(messages, options))
            number = len(self.asked) - 1
            self._open += 1
            self.most_open = max(self.most_open, self._open)
        if self._log is not None:
            entry = {
                "time": time.time(),
                "pid": os.getpid(),
                "spec": self.identity.spec,
                "messages": messages,
                "options": options.model_dump(exclude_defaults=True),
            }
            _append(self._log, json.dumps(entry).encode() + b"\n")
        return number

    def _plan_for(self, messages: Sequence[Message], number: int) -> tuple[Planned, Fault | None]:
        planned = Planned(reply=self._say(messages)) if self._say is not None else self._find(messages)
        fault = self._plan.faults.get(number)
        if fault is None and planned.fault is not None:
            key = conversation_key(messages)
            with self._lock:
                self._times[key] = self._times.get(key, 0) + 1
                if planned.times is None or self._times[key] <= planned.times:
                    fault = planned.fault
        return planned, fault

    def _find(self, messages: Sequence[Message]) -> Planned:
        last = last_user_message(messages)
        for planned in self._plan.replies:
            if planned.match is not None and re.search(planned.match, last):
                return planned
        key = conversation_key(messages)
        with self._lock:
            if key not in self._given:
                following = next(self._in_order, None)
                if following is None:
                    raise RequestRefusedError(f"{self.identity.spec}: no reply is planned for {last[:80]!r}")
                self._given[key] = following
            return self._given[key]


def last_user_message(messages: Sequence[Message]) -> str:
    """The text of the last message by the user; "" when there is none."""
    return next((text_of(m) for m in reversed(messages) if m["role"] == "user"), "")


def conversation_key(messages: Sequence[Message]) -> str:
    """What tells one conversation from another: hex sha256 of its messages."""
    return hashlib.sha256(json.dumps(list(messages), sort_keys=True).encode()).hexdigest()


def _with_tools(messages: Sequence[Message], options: Options) -> Sequence[Message]:
    return in_tool_form(messages, options)[0] if options.tools else messages


def _continued(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1]["role"] == "assistant"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _cut(text: str, stops: Sequence[str], most: int) -> tuple[str, FinishReason]:
    for stop in stops:
        text = text.partition(stop)[0]
    words = pieces(text)
    return ("".join(words[:most]), "length") if len(words) > most else (text, "stop")


def _append(path: Path, line: bytes) -> None:
    """Append with one write: lines of several processes never mix, and a kill tears none. The OS keeps it: no fsync."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error(path, error) from error
