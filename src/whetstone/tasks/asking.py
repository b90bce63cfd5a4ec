"""How a task asks a model: a plan is a generator that yields requests and is sent the answers.

So one plan serves a single text and thousands of them: whoever runs plans asks for what all of them want at once.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from whetstone.types import Message, Options, Usage

T = TypeVar("T")


@dataclass(frozen=True)
class Asking:
    """A request of a task.

    Attributes:
        name: what it is for, in words: "answer", "part 2 of 7".
        messages: the conversation.
        options: how the model is asked.
        schema: a JSON Schema that the answer must satisfy; None for words.
        keep: whether the reply is kept on the disk until the task is finished, so that a long one can be resumed.
    """

    name: str
    messages: tuple[Message, ...]
    options: Options
    schema: dict[str, Any] | None = None
    keep: bool = False


@dataclass(frozen=True)
class Answer:
    """What a model said to a request.

    Attributes:
        text: its words.
        value: the JSON value, where a schema was asked for.
        cut_off: whether it ended at the limit of tokens.
    """

    text: str
    value: Any = None
    cut_off: bool = False


@dataclass(frozen=True)
class TaskStep:
    """One request and its reply, for whoever wants to know how a result came about.

    Attributes:
        name, messages: of the request.
        reply: as it came.
        usage: tokens, of all attempts.
        seconds: of waiting for the model; in a batch, its share.
        cost: US dollars; None where no price is known.
        finish_reason: why the reply ended.
        attempts: how often the model was asked until the answer had the form that it must have.
        constrained: whether the engine held the reply to the schema; None without a schema.
        kept: whether the reply is of an earlier run that was interrupted, so that it cost nothing now.
    """

    name: str
    messages: tuple[Message, ...]
    reply: str
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost: float | None = None
    finish_reason: str | None = None
    attempts: int = 1
    constrained: bool | None = None
    kept: bool = False


# Yields requests, all of which may be asked at once; is sent their answers in order, or an error of one of them thrown.
Plan = Generator[Sequence[Asking], Sequence[Answer], T]
