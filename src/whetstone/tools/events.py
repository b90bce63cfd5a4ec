"""What happens while a model answers with tools, as plain values in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from whetstone.tools.tool import ToolResult
from whetstone.types import Chunk, Message, Options, ToolCall, Usage

Outcome = Literal["done", "failed", "refused", "abandoned", "not_called"]
"""Of a call: it gave a result; it said or raised that it could not; nobody consented; it took too long; there was no
such tool, no arguments that can be read, or no time or money left."""

Reason = Literal["answered", "rounds", "seconds", "cost", "stopped"]
"""Why it ended: the model had said all; or one of `ToolLimits` was reached; or it was stopped."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The model is asked for a reply.

    Attributes:
        round: 1 for the first reply.
        messages, options: what it is asked with, tools included.
    """

    round: int
    messages: tuple[Message, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of a reply."""

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Called:
    """The model asks for a call, as it wrote it. Its `Returned` follows, after those of the calls before it."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of a call.

    Attributes:
        call: which one.
        outcome: how it went.
        result: its text, cut to what the model is told of it.
        told: the tool's message to the model: the text marked as data, or the sentence of what went wrong.
        characters: of the whole result, before it was cut.
        seconds: that the call took.
    """

    call: ToolCall
    outcome: Outcome
    result: ToolResult
    told: str
    characters: int = 0
    seconds: float = 0.0

    @property
    def message(self) -> Message:
        """The message to the model."""
        return {"role": "tool", "tool_call_id": self.call.id, "content": self.told}


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event.

    Attributes:
        reason: why it ended.
        text: of the last reply.
        messages: the whole conversation, with the calls, their results and the last reply.
        rounds: replies.
        usage, cost: of all replies together; the cost in US dollars, None where no price is known.
        seconds: wall time, without waiting for consent.
    """

    reason: Reason
    text: str
    messages: tuple[Message, ...]
    rounds: int
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    seconds: float = 0.0


ToolEvent = Asked | Said | Called | Returned | Ended
