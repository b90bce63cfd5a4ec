"""Planned replies: what a scripted model says, after what delay, and how it fails."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from whetstone.errors import (
    BadReplyError,
    ContextTooLongError,
    DataError,
    LoginError,
    ModelConnectionError,
    ModelError,
    ModelTimeoutError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    UnknownModelError,
)

Fault = Literal[
    "login",
    "quota",
    "rate_limit",
    "unknown_model",
    "context_too_long",
    "timeout",
    "connection",
    "half_stream",
    "bad_reply",
    "refused",
]

FAULTS: Mapping[Fault, type[ModelError]] = {
    "login": LoginError,
    "quota": QuotaError,
    "rate_limit": RateLimitError,
    "unknown_model": UnknownModelError,
    "context_too_long": ContextTooLongError,
    "timeout": ModelTimeoutError,
    "connection": ModelConnectionError,
    "half_stream": ModelConnectionError,  # after half of the reply
    "bad_reply": BadReplyError,
    "refused": RequestRefusedError,
}


class PlannedCall(BaseModel):
    """One planned call of a tool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="the tool's name")
    arguments: dict[str, Any] = Field({}, description="what it is called with")
    id: str = Field("", description="the call's id; by default call_0, call_1, …")


class Planned(BaseModel):
    """One planned reply.

    Its tool calls are made when the request offers tools, does not say tool_choice none, and does not end with a tool's
    result; the text is said otherwise. So one planned reply plays both halves: the call, and the answer after it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reply: str = Field("", description="what is said")
    reasoning: str = Field("", description="what is thought before it is said")
    tool_calls: tuple[PlannedCall, ...] = Field((), description="tools to call instead of saying it")
    match: str | None = Field(None, description="regular expression searched in the last user message")
    fault: Fault | None = Field(None, description="fail like this instead of replying")
    times: int | None = Field(None, ge=1, description="fail only so often for one conversation, then reply")
    delay: float | None = Field(None, ge=0, description="seconds before each piece of this reply")

    @field_validator("match")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return pattern


class Plan(BaseModel):
    """What a scripted model does.

    The first reply whose `match` is found in the last user message is given. When none is, the replies without `match`
    are given in the order in which conversations are first asked; a conversation asked again gets its reply again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replies: tuple[Planned, ...] = Field((), description="what is said")
    faults: dict[int, Fault] = Field({}, description="fail at these requests, counted from 0 in this process")
    chunk: int = Field(8, ge=1, description="characters of one streamed piece")
    delay: float = Field(0, ge=0, description="seconds before each piece")

    @property
    def digest(self) -> str:
        """Hex sha256 of what decides the replies."""
        decisive = self.model_dump(mode="json", include={"replies", "faults"})
        for planned in decisive["replies"]:  # plans from before these fields keep their digest
            for name in ("reasoning", "tool_calls"):
                if not planned[name]:
                    del planned[name]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def as_plan(replies: Sequence[str | Planned], faults: Mapping[int, Fault], chunk: int, delay: float) -> Plan:
    """A plan from Python values; a plain string is a reply."""
    planned = tuple(Planned(reply=entry) if isinstance(entry, str) else entry for entry in replies)
    return Plan(replies=planned, faults=dict(faults), chunk=chunk, delay=delay)


def read_plan(path: Path) -> Plan:
    """A plan from a YAML file.

    Raises:
        DataError: the file cannot be read, or is no plan; the sentence names the field.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; name a YAML file with planned replies") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds no mapping; write `replies:` and under it a list of replies")
    try:
        return Plan.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {field}={first['input']!r} is wrong: {first['msg']}") from None
