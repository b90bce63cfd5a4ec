"""Which roles and orders of messages a chat template takes, which it refuses, and which it passes over in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whetstone.errors import RequestRefusedError
from whetstone.tokens.chat import template_of
from whetstone.tokens.tokenizer import Tokenizer

Outcome = Literal["taken", "refused", "passed over"]

_CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": {"up": "it"}}}
_TOOL = {
    "type": "function",
    "function": {
        "name": "tool-name-7",
        "description": "Looks it up.",
        "parameters": {"type": "object", "properties": {"up": {"type": "string"}}},
    },
}


def _said(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"text-{number}"} for number, role in enumerate(roles)]


# What is asked -> messages and tools; every "text-N" that is missing from the result was passed over.
PROBES: Mapping[str, tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]] = {
    "a user alone": (_said("user"), ()),
    "a system prompt": (_said("system", "user"), ()),
    "a developer's prompt": (_said("developer", "user"), ()),
    "only a system prompt": (_said("system"), ()),
    "two system prompts": (_said("system", "system", "user"), ()),
    "a system prompt in the middle": (_said("user", "assistant", "system", "user"), ()),
    "the assistant first": (_said("assistant", "user"), ()),
    "two users in a row": (_said("user", "user"), ()),
    "two assistants in a row": (_said("user", "assistant", "assistant"), ()),
    "an unknown role": (_said("user", "narrator"), ()),
    "an empty message": ([{"role": "user", "content": ""}], ()),
    "parts of text": ([{"role": "user", "content": [{"type": "text", "text": "text-0"}]}], ()),
    "tools": (_said("user"), [_TOOL]),
    "a tool's answer": (
        [
            *_said("user"),
            {"role": "assistant", "content": "", "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "name": "look", "content": "text-2"},
        ],
        (),
    ),
}


@dataclass(frozen=True, slots=True)
class RoleFinding:
    """How a template takes one kind of conversation.

    Attributes:
        probe: what was asked, a key of `PROBES`.
        outcome: taken, refused, or passed over: rendered, but without something that was said.
        detail: why it was refused, or what is missing.
    """

    probe: str
    outcome: Outcome
    detail: str = ""


def probe_roles(tokenizer: Tokenizer) -> Iterator[RoleFinding]:
    """Every probe through a tokenizer's chat template.

    Raises:
        UsageError: it has none.
    """
    template = template_of(tokenizer)
    for probe, (messages, tools) in PROBES.items():
        try:
            text = template.render(messages, tools=tools or None).text
        except RequestRefusedError as error:
            yield RoleFinding(probe, "refused", str(error))
            continue
        told = [str(message["content"]) for message in messages if str(message["content"]).startswith("text-")]
        if isinstance(messages[0]["content"], list):
            told.append("text-0")
        if tools:
            told.append("tool-name-7")
        missing = [part for part in told if part not in text]
        yield RoleFinding(probe, "passed over" if missing else "taken", ", ".join(missing))
