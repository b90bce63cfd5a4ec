"""A conversation that somebody wrote as JSON: messages, and what else a chat template is to be given."""

from __future__ import annotations

import json
from typing import Any

from whetstone.errors import DataError


def read_conversation(text: str, where: str = "the conversation", tools: str = "") -> dict[str, Any]:
    """Messages and what goes with them.

    Args:
        text: a list of messages, or an object with `messages`, and further variables of the template.
        where: names the conversation in error messages.
        tools: a list of tools, instead of those in the object; "" for none.

    Raises:
        DataError: it is no such JSON; the sentence says where. Messages are counted from 1.
    """
    data = _json(text, where)
    asked = {"messages": data} if isinstance(data, list) else data
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
        raise DataError(f"{where}: there are no messages: write a list of them, or an object with `messages`")
    for number, message in enumerate(asked["messages"], 1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise DataError(f"{where}: message {number} has no role: {json.dumps(message)[:80]}")
    if tools.strip():
        asked["tools"] = _json(tools, "the tools")
    listed = asked.get("tools")
    if listed is not None and not (isinstance(listed, list) and all(isinstance(tool, dict) for tool in listed)):
        raise DataError(f"{where}: the tools are no list of JSON schemas: write [{{…}}, …]")
    return asked


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{what}: no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{what}: no JSON that can be read: {error}") from None
    except RecursionError:
        raise DataError(f"{what}: nested too deeply") from None
