"""The types of what goes into a chain and comes out of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from whetstone.errors import UsageError
from whetstone.registry import unknown_name

TypeName = Literal["text", "number", "boolean", "label", "list", "object", "any"]

_TRUE, _FALSE = {"true", "yes", "1", "on"}, {"false", "no", "0", "off"}


class Typed(BaseModel):
    """A type that values are checked against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: TypeName = "text"
    description: str = ""
    labels: tuple[str, ...] = Field((), description="of a label: what it can be")

    @model_validator(mode="after")
    def _labels_belong_to_a_label(self) -> Typed:
        if bool(self.labels) != (self.type == "label"):
            raise ValueError("labels go with the type label, which needs them")
        return self

    def check(self, value: Any) -> Any:
        """The value, as this type.

        Raises:
            ValueError: it is none of it; the text says what it is to be.
        """
        good = {
            "text": isinstance(value, str),
            "number": isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
            "boolean": isinstance(value, bool),
            "label": value in self.labels,
            "list": isinstance(value, list),
            "object": isinstance(value, dict),
            "any": True,
        }[self.type]
        if not good:
            raise ValueError(f"is to be {self.in_words}, not {json.dumps(value, ensure_ascii=False)[:60]}")
        return value

    def read(self, written: Any) -> Any:
        """The value that a text of a command line stands for; a value that is no text is checked only.

        Raises:
            ValueError: see `check`.
        """
        if not isinstance(written, str) or self.type in ("text", "label", "any"):
            return self.check(written)
        if self.type == "boolean" and written.casefold() in _TRUE | _FALSE:
            return written.casefold() in _TRUE
        try:
            return self.check(json.loads(written))
        except ValueError:
            raise ValueError(f"is to be {self.in_words}, not {written[:60]!r}") from None

    @property
    def in_words(self) -> str:
        """ "a number", "one of a, b"."""
        if self.type == "label":
            return f"one of {', '.join(self.labels)}"
        return {"any": "any value", "object": "an object"}.get(self.type, f"a {self.type}")


class Input(Typed):
    """One input of a chain; it must be given, unless it has a default."""

    default: Any = Field(None, description="what it is where it is not given")

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return "default" not in self.model_fields_set

    @model_validator(mode="after")
    def _default_is_of_the_type(self) -> Input:
        if not self.required and self.default is not None:
            self.check(self.default)
        return self


class Output(Typed):
    """One output of a chain."""

    type: TypeName = "any"
    value: str = Field(description="an expression")


def read_inputs(inputs: Mapping[str, Input], given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every input.

    Raises:
        UsageError: one is missing, is not of its type, or is none of the chain's.
    """
    for name in given:
        if name not in inputs:
            if not inputs:
                raise UsageError(f"the chain has no inputs, so {name!r} says nothing to it")
            raise unknown_name("input of the chain", name, list(inputs))
    missing = [name for name, one in inputs.items() if one.required and name not in given]
    if missing:
        wanted = ", ".join(f"{name} ({inputs[name].in_words})" for name in missing)
        raise UsageError(f"the chain needs {wanted}: give --input {missing[0]}=…")
    values = {}
    for name, one in inputs.items():
        try:
            values[name] = one.read(given[name]) if name in given else one.default
        except ValueError as error:
            raise UsageError(f"the input {name} {error}") from None
    return values
