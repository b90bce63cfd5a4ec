"""Conversations written as lists: `messages` of role and content, and ShareGPT's `conversations` of from and value."""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic import ValidationError

from whetstone.chat.imported import BadEntry, Draft
from whetstone.types import Message, Options

LISTS = ("messages", "conversations", "conversation")  # fields that may hold the list

_ROLES = {"system", "developer", "user", "assistant", "tool"}
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "function_response": "tool",
    "observation": "tool",
    "function_call": "assistant",
}


def is_message(value: Any) -> bool:
    """Whether this looks like one message, of either form."""
    return isinstance(value, dict) and (("role" in value and "content" in value) or ("from" in value))


def read_object(entry: dict[str, Any]) -> Draft:
    """The conversation of an object with a field of `LISTS`; it may have `system` and `tools` beside it.

    Raises:
        BadEntry: it cannot be read.
    """
    field = next(name for name in LISTS if name in entry)
    draft = read_list(entry[field], f"{field!r}")
    if isinstance(entry.get("system"), str) and not draft.system:
        draft.system = entry["system"]
    if isinstance(entry.get("title"), str):
        draft.title = entry["title"]
    if entry.get("tools"):
        try:
            draft.options = Options(tools=entry["tools"])
        except ValidationError:
            raise BadEntry("its 'tools' are no list of objects") from None
    return draft


def read_list(messages: Any, name: str = "the list") -> Draft:
    """The conversation of a list of messages; a system message that comes first is its system prompt.

    Raises:
        BadEntry: it cannot be read.
    """
    if not isinstance(messages, list):
        raise BadEntry(f"{name} holds no list of messages")
    draft = Draft()
    parent: str | None = None
    call = ""  # id of the last call, which the next result of a tool answers
    for number, entry in enumerate(messages, start=1):
        if not isinstance(entry, dict):
            raise BadEntry(f"message {number} is no object")
        message = _message(entry, number) if "role" in entry else _share_gpt(entry, number, call)
        if message.get("tool_calls"):
            call = str(message["tool_calls"][-1].get("id", ""))
        reasoning = message.pop("reasoning_content", "")
        content = message["content"]
        is_prompt = number == 1 and message["role"] == "system" and set(message) == {"role", "content"}
        if is_prompt and isinstance(content, str) and content:
            draft.system = content
            continue
        parent = draft.add(message, parent, reasoning=reasoning).id
    return draft


def _message(entry: dict[str, Any], number: int) -> Message:
    role = entry["role"]
    if not isinstance(role, str) or role not in _ROLES:
        raise BadEntry(f"message {number} has the role {role!r}; known are {', '.join(sorted(_ROLES))}")
    content = entry.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) for part in content):
            raise BadEntry(f"message {number}: a part of its content is no object")
    elif not isinstance(content, str | None):
        raise BadEntry(f"message {number}: its content is neither a text nor a list of parts")
    message: dict[str, Any] = {"role": role, "content": content}
    for name in ("name", "tool_call_id", "reasoning_content"):
        if entry.get(name) is not None:
            if not isinstance(entry[name], str):
                raise BadEntry(f"message {number}: its {name!r} is no text")
            message[name] = entry[name]
    calls = entry.get("tool_calls")
    if calls:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise BadEntry(f"message {number}: its 'tool_calls' are no list of objects")
        message["tool_calls"] = calls
    return cast(Message, message)


def _share_gpt(entry: dict[str, Any], number: int, call: str) -> Message:
    if "from" not in entry:
        raise BadEntry(f"message {number} has neither 'role' nor 'from'")
    speaker, value = entry["from"], entry.get("value")
    role = _SPEAKERS.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise BadEntry(f"message {number} is from {speaker!r}; known are {', '.join(_SPEAKERS)}")
    if not isinstance(value, str):
        raise BadEntry(f"message {number} has no 'value' that is a text")
    if speaker == "function_call":
        return _function_call(value, number)
    message: dict[str, Any] = {"role": role, "content": value}
    if role == "tool" and call:
        message["tool_call_id"] = call
    return cast(Message, message)


def _function_call(value: str, number: int) -> Message:
    try:
        called = json.loads(value)
        function = {
            "name": called["name"],
            "arguments": json.dumps(called["arguments"], ensure_ascii=False),
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadEntry(f"message {number} is a function_call without 'name' and 'arguments'") from None
    call = {"id": f"call_{number}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}
