"""What all requests have in common: which fields are ignored, which are refused, and what text may hold.

A field that would change the answer and that no engine of ours honours is refused by name, unless its value is the one
that asks for nothing. Fields that only serve the caller's bookkeeping are accepted and ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError


def _is_text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("the text holds half a character (a lone surrogate), which no model can read") from None
    return text


def checked_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in it holds half a character (a lone surrogate), which no model can read") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


Text = Annotated[str, AfterValidator(_is_text)]
JsonObject = Annotated[dict[str, Any], AfterValidator(checked_json)]
Stop = Annotated[Text, StringConstraints(min_length=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]

# Field -> the values that ask for nothing.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "min_p": (0, 0.0),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True,),
    "reasoning_effort": (),
    "repeat_penalty": (1, 1.0),
    "repetition_penalty": (1, 1.0),
    "suffix": ("",),
    "top_k": (0, -1),
    "verbosity": ("medium",),
    "web_search_options": (),
}
_BOOKKEEPING = (
    "background_tasks",  # this and the ids: Open WebUI
    "chat_id",
    "id",
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "session_id",
    "store",
    "user",
)


def wrong(param: str, message: str) -> PydanticCustomError:
    """The error for a field that is wrong beside the others."""
    return PydanticCustomError("unsupported", "{message}", {"message": message, "param": param})


class Request(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = Field(None, description="one of /v1/models; the default model when left out")

    @model_validator(mode="before")
    @classmethod
    def _without_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {}
        for name, value in data.items():
            if name in cls.model_fields:
                kept[name] = value
            elif name in _BOOKKEEPING:
                continue
            elif name not in _UNSUPPORTED:
                kept[name] = value  # refused as unknown
            elif value is not None and not any(value == neutral for neutral in _UNSUPPORTED[name]):
                raise wrong(name, f"the parameter {name} is not supported here; leave it out")
        return kept
