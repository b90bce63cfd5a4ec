"""Histories as Gradio has sent them over the years, as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from whetstone.errors import UsageError
from whetstone.types import Message, assistant, user

_ROLES = {"system", "developer", "user", "assistant", "tool"}


def as_text(content: object) -> str:
    """The text of what somebody said: a text, a list of parts, or a dictionary with text and files.

    A file is not read, and not passed over either: it becomes the words "[file: name]".

    Raises:
        UsageError: the content is none of these.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _of_mapping(content)
    if isinstance(content, Sequence):
        if len(content) in (1, 2) and isinstance(content, tuple) and all(isinstance(c, str | None) for c in content):
            return _file(content[0])  # the older form of a file: (path, alternative text)
        return "\n".join(text for part in content if (text := as_text(part)))
    raise UsageError(f"a message holds {type(content).__name__}, where text was expected")


def _of_mapping(content: Mapping[str, Any]) -> str:
    if isinstance(content.get("text"), str):
        files = [_file(_path(file)) for file in content.get("files") or ()]
        return "\n".join([*files, content["text"]] if content["text"] else files)
    if "files" in content:
        return "\n".join(_file(_path(file)) for file in content["files"] or ())
    if (path := _path(content)) is not None:
        return _file(path)
    kind = content.get("type") or content.get("component") or "something"
    return f"[{kind}]"


def _path(file: object) -> str | None:
    if isinstance(file, str):
        return file
    if isinstance(file, Mapping):
        inner = file.get("orig_name") or file.get("path") or file.get("url")
        return _path(inner if inner is not None else file.get("file") or file.get("value") or file.get("image_url"))
    return None


def _file(path: str | None) -> str:
    if path is None:
        return "[file]"
    return "[file]" if path.startswith("data:") else f"[file: {PurePath(path).name}]"


def as_messages(history: Sequence[Any] | None) -> list[Message]:
    """A history as messages: of message dictionaries, or of the older `[user, assistant]` pairs.

    Entries that are None (a side that has said nothing yet) and Gradio's folded boxes are left out; neighbouring
    messages of one role, which a text sent with files comes as, become one.

    Raises:
        UsageError: an entry is neither, or has an unknown role.
    """
    messages: list[Message] = []
    for number, entry in enumerate(history or ()):
        if isinstance(entry, Mapping):
            if (entry.get("metadata") or {}).get("title"):  # a folded box: what a model thought, or a tool did
                continue
            _add(messages, _of_dictionary(number, entry))
        elif isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 2:
            for said, make in zip(entry, (user, assistant), strict=True):
                if said is not None:
                    _add(messages, make(as_text(said)))
        else:
            raise UsageError(
                f"history entry {number} is {type(entry).__name__}: give dictionaries with role and content, or pairs "
                "of what the user and the assistant said"
            )
    return messages


def _of_dictionary(number: int, entry: Mapping[str, Any]) -> Message:
    role = entry.get("role")
    if role not in _ROLES:
        raise UsageError(f"history entry {number} has the role {role!r}; known: {', '.join(sorted(_ROLES))}")
    message: Message = {"role": role, "content": as_text(entry.get("content"))}
    if entry.get("tool_calls"):
        message["tool_calls"] = list(entry["tool_calls"])
    if entry.get("tool_call_id"):
        message["tool_call_id"] = str(entry["tool_call_id"])
    return message


def _add(messages: list[Message], message: Message) -> None:
    mergeable = messages and message["role"] in ("user", "assistant") and messages[-1]["role"] == message["role"]
    if mergeable and not message.get("tool_calls") and not messages[-1].get("tool_calls"):
        messages[-1]["content"] = f"{messages[-1]['content']}\n{message['content']}"
    else:
        messages.append(message)
