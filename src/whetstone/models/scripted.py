"""A model that says what was planned: for tests, for demos without a key or weights, and for trying out failures."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from whetstone.errors import RequestRefusedError, UsageError
from whetstone.models.base import ReplyStream
from whetstone.models.scripted_plan import FAULTS, Fault, Planned, as_plan, read_plan
from whetstone.models.spec import Listing, ModelSpec
from whetstone.storage.files import storage_error
from whetstone.types import Chunk, Message, ModelIdentity, Options, Usage
from whetstone.types.chat import FinishReason

Saying = Callable[[Sequence[Message]], str]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    messages: tuple[Message, ...]
    options: Options


class ScriptedModel:
    """A deterministic model with planned replies, delays and faults.

    Tokens are words: `max_tokens` cuts a reply after so many of them, and usage counts them. `stop` is honoured; other
    options do not change what is planned.

    Args:
        replies: texts or `Planned` replies, used as `Plan` says; or a function of the messages, which may raise a
            ModelError.
        faults: request number, from 0 in order of asking -> how that request fails.
        chunk: characters of one streamed piece.
        delay: seconds before each piece.
        concurrency: most streams that `replies` opens at once. Replies given in order need 1 to be repeatable.
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
        self.asked: list[Asked] = []
        self.most_open = 0
        self._open = 0
        self._log = log
        self._lock = threading.Lock()
        self._given: dict[str, Planned] = {}
        self._times: dict[str, int] = {}

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
        """The planned reply; see `ChatModel`."""
        stopped = threading.Event()
        return ReplyStream(self._chunks(tuple(messages), options, stopped), stopped.set)

    def render(self, messages: Sequence[Message], options: Options = Options()) -> str:  # noqa: B008
        """The messages in ChatML, up to where the reply begins."""
        turns = [f"<|im_start|>{message['role']}\n{_content(message)}" for message in messages]
        if not messages or messages[-1]["role"] != "assistant":
            turns.append("<|im_start|>assistant\n")
        return "<|im_end|>\n".join(turns)

    def close(self) -> None:
        """Nothing is held."""

    def _chunks(self, messages: tuple[Message, ...], options: Options, stopped: threading.Event) -> Generator[Chunk]:
        number = self._note(messages, options)
        try:
            planned, fault = self._plan_for(messages, number)
            delay = self._plan.delay if planned.delay is None else planned.delay
            text, finish = _cut(planned.reply, options)
            broken = f"{self.identity.spec}: planned fault {fault}"
            if fault is not None and fault != "half_stream":
                if stopped.wait(delay):
                    return
                raise FAULTS[fault](broken)
            end = len(text) // 2 if fault else len(text)
            for start in range(0, end, self._plan.chunk):
                if stopped.wait(delay):
                    return
                yield Chunk(text=text[start : min(end, start + self._plan.chunk)])
            if fault is not None:
                raise FAULTS[fault](f"{broken} (after {end} characters of the reply)")
            words = sum(len(_content(message).split()) for message in messages)
            yield Chunk(finish_reason=finish, usage=Usage(words, len(text.split())))
        finally:
            with self._lock:
                self._open -= 1

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
            key = _key(messages)
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
        key = _key(messages)
        with self._lock:
            if key not in self._given:
                following = next(self._in_order, None)
                if following is None:
                    raise RequestRefusedError(f"{self.identity.spec}: no reply is planned for {last[:80]!r}")
                self._given[key] = following
            return self._given[key]


def last_user_message(messages: Sequence[Message]) -> str:
    """The text of the last message by the user; "" when there is none."""
    return next((_content(m) for m in reversed(messages) if m["role"] == "user"), "")


def a_number(messages: Sequence[Message]) -> str:
    """A price between $0.01 and $999.99 that depends on nothing but the conversation."""
    cents = 1 + int(_key(messages), 16) % 99_999
    return f"${cents // 100}.{cents % 100:02d}"


def _content(message: Message) -> str:
    content = message["content"]
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


def _key(messages: Sequence[Message]) -> str:
    return hashlib.sha256(json.dumps(list(messages), sort_keys=True).encode()).hexdigest()


def _cut(text: str, options: Options) -> tuple[str, FinishReason]:
    for stop in options.stop:
        text = text.partition(stop)[0]
    words = list(re.finditer(r"\S+", text))
    if options.max_tokens is not None and len(words) > options.max_tokens:
        return text[: words[options.max_tokens - 1].end()], "length"
    return text, "stop"


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


SAYINGS: Mapping[str, Saying] = {"echo": last_user_message, "number": a_number}


class ScriptedOptions(BaseModel):
    """Options of a `scripted` spec."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(None, description="what scripted:reply says")
    log: Path | None = Field(None, description="file to which every request appends one line of JSON")
    chunk: int | None = Field(None, ge=1, description="characters of one streamed piece")
    delay: float | None = Field(None, ge=0, description="seconds before each piece")
    concurrency: int = Field(1, ge=1, le=256, description="most streams worth having open at once")


class ScriptedProvider:
    """Loads `scripted:echo`, `scripted:number`, `scripted:reply?text=...` and `scripted:PLAN.yaml`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: ModelSpec) -> ScriptedModel:
        """The model.

        Raises:
            UsageError: the spec names nothing that can be played.
            DataError: the plan's file cannot be read.
        """
        options = spec.read_options(ScriptedOptions)
        name = f"{spec.name}@{spec.revision}" if spec.revision else spec.name
        if (options.text is not None) != (name == "reply"):
            raise UsageError(f"{spec}: the option text belongs to {self.name}:reply?text=..., and to nothing else")
        # Only what decides the replies: a run must stay the same run when the model answers more slowly.
        identity = ModelSpec(self.name, name, options={} if options.text is None else {"text": options.text})
        replies: Sequence[str | Planned] | Saying
        faults: Mapping[int, Fault] = {}
        chunk, delay, revision = 8, 0.0, None
        if options.text is not None:
            text = options.text
            replies, revision = lambda _: text, ""
        elif name in SAYINGS:
            replies = SAYINGS[name]
        elif name.endswith((".yaml", ".yml")):
            plan = read_plan(Path(name).expanduser())
            replies, faults, chunk, delay = plan.replies, plan.faults, plan.chunk, plan.delay
        else:
            raise UsageError(
                f"{spec}: write {self.name}:echo, {self.name}:number, {self.name}:reply?text=..., "
                f"or {self.name}:PLAN.yaml for a file of planned replies"
            )
        return ScriptedModel(
            replies,
            faults=faults,
            chunk=options.chunk or chunk,
            delay=delay if options.delay is None else options.delay,
            concurrency=options.concurrency,
            log=options.log,
            spec=str(identity),
            revision=revision,
        )

    def listing(self) -> Iterator[Listing]:
        """What needs no file."""
        yield Listing(f"{self.name}:echo", True, "repeats the last user message")
        yield Listing(f"{self.name}:number", True, "answers a price that depends on the conversation alone")
        yield Listing(f"{self.name}:reply?text=TEXT", True, "always says TEXT")
        yield Listing(f"{self.name}:PLAN.yaml", True, "says what a file plans")
