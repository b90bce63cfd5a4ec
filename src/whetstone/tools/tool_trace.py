"""What happened while a model answered with tools, with each prompt as the model saw it, schemas included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from whetstone.models import ChatModel, RenderingModel
from whetstone.tools.events import Asked, Ended, Returned, Said, ToolEvent
from whetstone.types import Message, Options, Usage


def as_seen(model: ChatModel, messages: Sequence[Message], options: Options) -> str:
    """A request as the model sees it: the text of its chat template; of an endpoint, which renders it itself, the
    messages and tools as they are sent.

    Raises:
        ModelError: the template refuses the messages.
    """
    if isinstance(model, RenderingModel):
        return model.render(messages, options)
    asked: dict[str, Any] = {"messages": list(messages)}
    if options.tools:
        asked["tools"] = list(options.tools)
    if options.tool_choice is not None:
        asked["tool_choice"] = options.tool_choice
    return json.dumps(asked, ensure_ascii=False, indent=1)


@dataclass
class Round:
    """One reply and the calls that it made.

    Attributes:
        prompt: as the model saw it.
        text, reasoning: of the reply.
        calls: what became of each.
        usage: tokens of the reply.
    """

    prompt: str
    text: str = ""
    reasoning: str = ""
    calls: list[Returned] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


class ToolTrace:
    """Gathers the events of `run_tools`.

    Args:
        model: who answers; it is asked for each prompt as it sees it.

    Attributes:
        rounds: so far.
        ended: the last event, once it is there.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.rounds: list[Round] = []
        self.ended: Ended | None = None

    def add(self, event: ToolEvent) -> None:
        """One event, in order."""
        if isinstance(event, Asked):
            self.rounds.append(Round(as_seen(self._model, event.messages, event.options)))
        elif isinstance(event, Said):
            one = self.rounds[-1]
            one.text += event.chunk.text
            one.reasoning += event.chunk.reasoning
            one.usage = event.chunk.usage or one.usage
        elif isinstance(event, Returned):
            self.rounds[-1].calls.append(event)
        elif isinstance(event, Ended):
            self.ended = event

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        told: dict[str, Any] = {"rounds": [_round(one) for one in self.rounds]}
        if self.ended is not None:
            told |= {
                "ended": self.ended.reason,
                "text": self.ended.text,
                "usage": _usage(self.ended.usage),
                "cost": self.ended.cost,
                "seconds": self.ended.seconds,
            }
        return told


def call_as_json(call: Returned) -> dict[str, Any]:
    """What became of a call, as JSON-ready values."""
    return {
        "id": call.call.id,
        "name": call.call.name,
        "arguments": call.call.arguments,
        "outcome": call.outcome,
        "result": call.result.text,
        "characters": call.characters,
        "told": call.told,
        "note": call.result.note,
        "seconds": call.seconds,
    }


def _round(one: Round) -> dict[str, Any]:
    return {
        "prompt": one.prompt,
        "text": one.text,
        "reasoning": one.reasoning,
        "calls": [call_as_json(call) for call in one.calls],
        "usage": _usage(one.usage),
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
