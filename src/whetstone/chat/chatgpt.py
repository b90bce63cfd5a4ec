"""Conversations as ChatGPT exports them: `conversations.json`, each a `mapping` of nodes with a `current_node`."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from whetstone.chat.imported import BadEntry, Draft
from whetstone.types import Message, ModelIdentity, Origin

_ROLES = {"system", "user", "assistant", "tool"}


@dataclass(frozen=True, slots=True)
class _Above:
    """What a node inherits from those above it that are kept, or folded into it."""

    parent: str | None = None  # the turn it follows
    reasoning: str = ""  # thoughts that belong to the next answer
    call: str = ""  # id of the call that the next results answer
    moment: float = 0.0  # seconds since 1970


def read_conversation(entry: dict[str, Any]) -> Draft:
    """The conversation of an entry, with all its branches.

    Nodes without a message and without text are passed over. Thoughts become the reasoning of the answer after them;
    what was written to a tool becomes a tool call; pictures and files become words in brackets.

    Raises:
        BadEntry: it cannot be read.
    """
    nodes = entry["mapping"]
    if not isinstance(nodes, dict) or not all(isinstance(node, dict) for node in nodes.values()):
        raise BadEntry("its 'mapping' is no table of nodes")
    title = entry.get("title")
    draft = Draft(
        key=str(entry.get("conversation_id") or entry.get("id") or ""),
        title=title if isinstance(title, str) else "",
        created=_moment(entry.get("create_time")),
        updated=_moment(entry.get("update_time")),
    )
    if draft.created is None:  # without a time, no two imports give the same id
        draft.key = ""
    draft.head = _Walk(nodes, draft).turn_of(entry.get("current_node"))
    return draft


class _Walk:
    """A walk through the nodes, parents first, and by time among those whose parent is there."""

    def __init__(self, nodes: dict[str, dict[str, Any]], draft: Draft) -> None:
        self._nodes = nodes
        self._draft = draft
        self._above: dict[str, _Above] = {}  # of each node that was visited: what its children inherit
        children: dict[str | None, list[str]] = {}
        for id, node in nodes.items():
            parent = node.get("parent")
            children.setdefault(parent if isinstance(parent, str) and parent in nodes else None, []).append(id)
        start = draft.created.timestamp() if draft.created else 0.0
        waiting = [(0.0, number, id, _Above(moment=start)) for number, id in enumerate(children.get(None, ()))]
        heapq.heapify(waiting)
        number = len(waiting)
        while waiting:
            _, _, id, above = heapq.heappop(waiting)
            below = self._above[id] = self._visit(id, above)
            for child in children.get(id, ()):
                number += 1
                heapq.heappush(waiting, (self._time(child, below), number, child, below))
        if len(self._above) < len(nodes):
            raise BadEntry("its 'mapping' goes round in a circle")

    def turn_of(self, node: Any) -> str | None:
        """The turn of a node, or the last one above it."""
        return self._above[node].parent if isinstance(node, str) and node in self._above else None

    def _time(self, id: str, above: _Above) -> float:
        message = self._nodes[id].get("message")
        moment = _moment(message.get("create_time")) if isinstance(message, dict) else None
        return max(moment.timestamp() if moment else 0.0, above.moment)

    def _visit(self, id: str, above: _Above) -> _Above:
        message = self._nodes[id].get("message")
        if message is None:
            return above
        role, content, metadata = _parts_of(message, id)
        kind = content.get("content_type")
        if kind == "thoughts":
            thoughts = "\n\n".join(_thought(thought) for thought in content.get("thoughts") or ())
            return _Above(
                above.parent, "\n\n".join(filter(None, [above.reasoning, thoughts])), above.call, above.moment
            )
        if kind == "reasoning_recap":
            return above  # "Thought for 5 seconds"
        text = _text(content)
        if kind == "user_editable_context" or (role == "system" and above.parent is None):
            self._draft.system = "\n\n".join(filter(None, [self._draft.system, text]))
            return above
        recipient = message.get("recipient")
        called = role == "assistant" and isinstance(recipient, str) and recipient not in ("all", "")
        if not text and not called and not (role == "tool" and above.call):
            return above
        told: dict[str, Any] = {"role": role, "content": text}
        if called:
            arguments = json.dumps({"input": str(content.get("text") or text)}, ensure_ascii=False)
            function = {"name": recipient, "arguments": arguments}
            told |= {"content": None, "tool_calls": [{"id": id, "type": "function", "function": function}]}
        elif role == "tool":
            told |= {"tool_call_id": above.call} if above.call else {}
        moment = self._time(id, above)
        slug = metadata.get("model_slug")
        turn = self._draft.add(
            cast(Message, told),
            above.parent,
            reasoning=above.reasoning if role == "assistant" else "",
            created=datetime.fromtimestamp(moment, UTC) if moment else None,
            origin=Origin(ModelIdentity(f"openai:{slug}", "openai", slug))
            if role == "assistant" and isinstance(slug, str) and slug
            else None,
        )
        reasoning = "" if role == "assistant" else above.reasoning
        return _Above(turn.id, reasoning, id if called else above.call if role == "tool" else "", moment)


def _parts_of(message: Any, id: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    if not isinstance(message, dict):
        raise BadEntry(f"the message of node {id} is no object")
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise BadEntry(f"the message of node {id} has the author {role!r}; known are {', '.join(sorted(_ROLES))}")
    if not isinstance(content, dict):
        raise BadEntry(f"the message of node {id} has no content")
    metadata = message.get("metadata")
    return role, content, metadata if isinstance(metadata, dict) else {}


def _text(content: dict[str, Any]) -> str:
    parts = content.get("parts")
    if isinstance(parts, list):
        return "\n".join(text for part in parts if (text := _part(part)))
    if content.get("content_type") == "code":
        language = content.get("language")
        return f"```{'' if language in (None, 'unknown') else language}\n{content.get('text') or ''}\n```"
    names = ("text", "result", "content", "user_profile", "user_instructions")
    found = [content[name] for name in names if isinstance(content.get(name), str) and content[name]]
    return "\n\n".join(found)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    if isinstance(part.get("text"), str):
        return cast(str, part["text"])  # what was spoken
    kind = str(part.get("content_type") or "something")
    return f"[{kind.removesuffix('_asset_pointer').replace('_', ' ')}]"


def _thought(thought: Any) -> str:
    if not isinstance(thought, dict):
        return str(thought)
    return "\n".join(str(thought[name]) for name in ("summary", "content") if thought.get(name))


def _moment(seconds: Any) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
