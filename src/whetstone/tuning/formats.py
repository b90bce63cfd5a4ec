"""The layouts of training rows that other programs write, recognised by their columns.

messages                  {"messages": [{"role": "user", "content": "…"}, …]}, with "tools" if there are any
prompt and completion     two texts, or two lists of messages (TRL)
conversations             {"conversations": [{"from": "human", "value": "…"}, …]} (ShareGPT), with "system" if wanted
instruction and output    {"instruction": "…", "input": "…", "output": "…"} (Alpaca)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from whetstone.types import Message

_ROLES = ("system", "developer", "user", "assistant", "tool")
# Who speaks in conversations as ShareGPT and the programs after it write them.
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}


class Unusable(Exception):
    """Why a row cannot be used, and the field at fault."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation to learn from.

    Attributes:
        messages: all turns.
        tools: descriptions of tools, as the chat template takes them.
        learn_from: index of the message from which on answers are learned.
    """

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    learn_from: int = 0

    @property
    def asked(self) -> str:
        """What the first answer that is learned follows, as text: rows that ask the same go into one split."""
        first = next(
            (n for n, m in enumerate(self.messages) if n >= self.learn_from and m["role"] == "assistant"), None
        )
        return "\n\n".join(_text(message) for message in self.messages[:first])


@dataclass(frozen=True, slots=True)
class Texts:
    """A text, and what a model is to write behind it."""

    prompt: str
    completion: str

    @property
    def asked(self) -> str:
        """What the answer follows."""
        return self.prompt


Example = Talk | Texts


@dataclass(frozen=True)
class Layout:
    """One way of writing training rows.

    Attributes:
        name: in words.
        needs: the columns by which it is recognised.
        takes: further columns that it reads.
        read: a row as an example. Raises Unusable.
    """

    name: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Example]


def recognise(columns: Collection[str]) -> Layout | None:
    """The layout of rows with these columns; None for none that is known."""
    return next((layout for layout in LAYOUTS if set(layout.needs) <= set(columns)), None)


def _messages(row: Mapping[str, Any]) -> Talk:
    return Talk(_turns(row.get("messages"), "messages"), _tools(row.get("tools")))


def _prompt_and_completion(row: Mapping[str, Any]) -> Example:
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        before = _turns(prompt, "prompt")
        return Talk([*before, *_turns(completion, "completion")], _tools(row.get("tools")), len(before))
    if isinstance(prompt, str) and isinstance(completion, str):
        return Texts(prompt, completion)
    field, other = ("completion", prompt) if isinstance(prompt, str) else ("prompt", completion)
    beside = ", and the other one is a list of messages" if isinstance(other, list) else ""
    raise Unusable(field, f"it holds {_kind(row.get(field))} where a text is expected{beside}")


def _conversations(row: Mapping[str, Any]) -> Talk:
    listed = row.get("conversations")
    if not isinstance(listed, list):
        raise Unusable("conversations", f"it holds {_kind(listed)} where a list of turns is expected")
    turns: list[Any] = []
    for n, turn in enumerate(listed):
        if isinstance(turn, dict) and "from" in turn:
            speaker = _SPEAKERS.get(str(turn["from"]))
            if speaker is None:
                raise Unusable("conversations", f"turn {n} is from {turn['from']!r}; known are {', '.join(_SPEAKERS)}")
            turns.append({"role": speaker, "content": turn.get("value")})
        else:
            turns.append(turn)
    preface = row.get("system")
    if preface and turns and turns[0].get("role") != "system":
        turns.insert(0, {"role": "system", "content": preface})
    return Talk(_turns(turns, "conversations"), _tools(row.get("tools")))


def _instruction(row: Mapping[str, Any]) -> Talk:
    parts = {name: row.get(name) for name in ("instruction", "output")}
    parts |= {name: row.get(name) or "" for name in ("system", "input")}
    for name, value in parts.items():
        if not isinstance(value, str):
            raise Unusable(name, f"it holds {_kind(value)} where a text is expected")
    asked = "\n\n".join(part for part in (parts["instruction"], parts["input"]) if part)
    before: list[Message] = [{"role": "system", "content": parts["system"]}] if parts["system"] else []
    before.append({"role": "user", "content": asked})
    return Talk([*before, {"role": "assistant", "content": parts["output"]}], learn_from=len(before))


LAYOUTS = (
    Layout("messages", ("messages",), ("tools",), _messages),
    Layout("conversations (ShareGPT)", ("conversations",), ("system", "tools"), _conversations),
    Layout("prompt and completion", ("prompt", "completion"), ("tools",), _prompt_and_completion),
    Layout("instruction and output (Alpaca)", ("instruction", "output"), ("input", "system"), _instruction),
)


def _turns(value: Any, field: str) -> list[Message]:
    """A list of messages, checked; what Parquet fills in for missing keys is taken out."""
    if not isinstance(value, list) or not value:
        found = "no message" if value == [] else _kind(value)
        raise Unusable(field, f"it holds {found} where a list of messages is expected")
    turns: list[Any] = []
    for n, turn in enumerate(value):
        if not isinstance(turn, dict):
            raise Unusable(field, f"message {n} is {_kind(turn)}; a message is an object with role and content")
        told = {key: _filled(each) for key, each in turn.items() if each is not None}
        told.setdefault("content", None)
        if told.get("role") not in _ROLES:
            raise Unusable(field, f"message {n} has the role {told.get('role')!r}; known are {', '.join(_ROLES)}")
        content = told["content"]
        texts = isinstance(content, list) and all(
            isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
            for part in content
        )
        if texts:
            told["content"] = "".join(part["text"] for part in content)
        elif not isinstance(content, str) and not (content is None and told.get("tool_calls")):
            raise Unusable(field, f"the content of message {n} is {_kind(content)}, not a text")
        turns.append(told)
    return turns


def _tools(value: Any) -> list[dict[str, Any]] | None:
    try:
        found = (
            json.loads(value) if isinstance(value, str) and value else value or None
        )  # many data sets keep it as JSON
    except ValueError:
        raise Unusable("tools", "it holds a text that is no JSON") from None
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise Unusable("tools", f"it holds {_kind(found)} where a list of tools is expected")
    return [_filled(tool) for tool in found]


def _filled(value: Any) -> Any:
    """Without the nulls that columnar files have for missing keys."""
    if isinstance(value, dict):
        return {key: _filled(each) for key, each in value.items() if each is not None}
    return [_filled(each) for each in value] if isinstance(value, list) else value


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a truth value"
    return {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), type(value).__name__
    )


def _text(message: Message) -> str:
    content = message["content"]
    return content if isinstance(content, str) else ""
