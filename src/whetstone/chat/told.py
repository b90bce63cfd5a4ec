"""What a model is told of a conversation: its turns as messages that every provider takes."""

from __future__ import annotations

from collections.abc import Sequence

from whetstone.tools.calling import as_wire
from whetstone.types import Message, ToolCall, Turn, user


def say_turns(told: list[Message], turns: Sequence[Turn], thoughts: bool) -> list[Message]:
    """The messages `told`, and after them those of turns.

    Args:
        told: said before.
        turns: in order; answers that failed before their first word are left out.
        thoughts: whether what a model thought before its answers is told, too.
    """
    told = list(told)
    unanswered = False
    for turn in turns:
        if not is_empty(turn):
            say_on(told, _message(turn, thoughts), unanswered)
        unanswered = is_empty(turn)
    return _repaired(told)


def _message(turn: Turn, thoughts: bool) -> Message:
    message = turn.message
    if thoughts and turn.reasoning and message["role"] == "assistant":
        message = {**message, "reasoning_content": turn.reasoning}
    return message


def say_on(told: list[Message], message: Message, unanswered: bool) -> None:
    """Add a message; to the one before it, when both are the user's and no answer came between them."""
    last = told[-1] if told else None
    if unanswered and last is not None and last["role"] == message["role"] == "user":
        told[-1] = user(f"{last['content']}\n\n{message['content']}")
    else:
        told.append(message)


def is_empty(turn: Turn) -> bool:
    message = turn.message
    return message["role"] == "assistant" and not message["content"] and not message.get("tool_calls")


def _repaired(messages: Sequence[Message]) -> list[Message]:
    """A conversation in which every call has its result, and every call can be read.

    One that was stopped, or branched between a call and its result, lacks results, and providers refuse it then.
    """
    told: list[Message] = []
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            id = message.get("tool_call_id", "")
            if id in open_calls:
                open_calls.remove(id)
        else:
            told.extend(map(_not_made, open_calls))
            open_calls = [str(call.get("id", "")) for call in message.get("tool_calls") or ()]
        told.append(_readable(message))
    return [*told, *map(_not_made, open_calls)]


def _not_made(id: str) -> Message:
    return {"role": "tool", "tool_call_id": id, "content": "Error: this call was not made"}


def _readable(message: Message) -> Message:
    calls = message.get("tool_calls")
    if not calls:
        return message
    read = []
    for call in calls:
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(function, dict) and isinstance(arguments, str):
            read.append(as_wire(ToolCall(str(call.get("id", "")), str(function.get("name", "")), arguments)))
        else:
            read.append(call)
    return {**message, "tool_calls": read}
