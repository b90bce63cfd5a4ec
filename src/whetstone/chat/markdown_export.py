"""A conversation as a Markdown page for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt

from whetstone.types import Conversation, Message, Turn

_PARSER = MarkdownIt("commonmark")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!https?://)")
_TITLES = {"user": "User", "assistant": "Assistant", "system": "System", "developer": "Developer", "tool": "Tool"}


def to_markdown(conversation: Conversation, path: Sequence[Turn]) -> str:
    """A page with a heading per turn; reasoning is folded. No message can reach into what comes after it.

    Messages are Markdown as they are, but fences that a message left open are closed, and HTML tags outside of code are
    escaped.

    Args:
        conversation: what is exported.
        path: the turns of one branch, from the first.
    """
    title = _on_one_line(conversation.title) or "Conversation"
    blocks = [f"# {title}", f"{conversation.created:%Y-%m-%d %H:%M} UTC · {len(path)} messages"]
    if conversation.system:
        blocks += ["## System", _contained(conversation.system)]
    for turn in path:
        blocks += _turn(turn)
    text = "\n\n".join(block for block in blocks if block) + "\n"
    return re.sub("[\ud800-\udfff]", "\ufffd", text)  # halves of characters cannot be written to a file


def _turn(turn: Turn) -> Iterator[str]:
    model = f" ({_on_one_line(turn.origin.model.spec)})" if turn.origin else ""
    yield f"## {_TITLES[turn.message['role']]}{model}"
    if turn.origin and turn.origin.system is not None:
        own = turn.origin.system
        yield (
            f"*(asked with another system prompt)*\n\n{_fenced(own, 'text')}"
            if own
            else "*(asked without a system prompt)*"
        )
    if turn.reasoning:
        # A tag opened before a blank line and closed after one leaves what is between to Markdown; in a fence nothing
        # that was thought can close the fold.
        yield f"<details>\n<summary>Reasoning</summary>\n\n{_fenced(turn.reasoning, 'text')}\n\n</details>"
    yield _contained(_said(turn.message))
    for call in turn.message.get("tool_calls", ()):
        yield _call(call)
    if turn.state in ("partial", "streaming"):
        yield "*(stopped before its end)*"
    if turn.state == "failed":
        yield f"*(failed: {_on_one_line(turn.error)})*"


def _said(message: Message) -> str:
    content = message["content"]
    if isinstance(content, list):
        parts = (part.get("text") for part in content)
        kinds = (str(part.get("type") or "something") for part in content)
        return "\n\n".join(
            text if isinstance(text, str) else f"[{kind}]" for text, kind in zip(parts, kinds, strict=True)
        )
    return content or ""


def _call(call: dict[str, Any]) -> str:
    function = call.get("function")
    if not isinstance(function, dict):
        return _fenced(json.dumps(call, ensure_ascii=False), "json")
    return f"Calls {_code(str(function.get('name')))}:\n\n{_fenced(str(function.get('arguments')), 'json')}"


def _on_one_line(text: str) -> str:
    return _escaped(" ".join(text.split()))


def _contained(text: str) -> str:
    """Markdown that ends where it ends: no fence is left open, and no HTML."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    code = {
        line
        for token in _PARSER.parse("\n".join(lines))
        if token.type in ("fence", "code_block") and token.map
        for line in range(*token.map)
    }
    lines = [line if number in code else _escaped(line) for number, line in enumerate(lines)]
    return "\n".join([*lines, *_open_fence(lines)])


def _open_fence(lines: list[str]) -> list[str]:
    """The mark that closes the fence in which the text ends, if it does. One in a list or a quotation ends with it."""
    last = next(reversed(_PARSER.parse("\n".join(lines))), None)
    if last is None or last.type != "fence" or last.level or not last.map:
        return []
    start, end = last.map
    closing = lines[end - 1].strip() if end - 1 > start else ""
    is_closed = len(closing) >= len(last.markup) and set(closing) == {last.markup[0]}
    return [] if is_closed else [last.markup]


def _escaped(line: str) -> str:
    """A line with its tags escaped, except in code spans."""
    parts, at = [], 0
    for span in _CODE_SPAN.finditer(line):
        parts += [_TAG.sub(r"\\<", line[at : span.start()]), span[0]]
        at = span.end()
    return "".join([*parts, _TAG.sub(r"\\<", line[at:])])


def _fenced(text: str, language: str) -> str:
    marks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{marks}{language}\n{text}\n{marks}"


def _code(text: str) -> str:
    marks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{marks}{text}{marks}" if "`" not in text else f"{marks} {text} {marks}"
