"""Specs: one line that names a model or an embedder, `provider:name[@revision][?option=value&...]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ValidationError

from whetstone.errors import UsageError
from whetstone.registry import unknown_name

OptionsT = TypeVar("OptionsT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A parsed model spec. `str()` gives its canonical form: options sorted, so equal specs print alike."""

    provider: str
    name: str = ""
    revision: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        name = f":{self.name}" if self.name else ""
        revision = f"@{self.revision}" if self.revision else ""
        options = f"?{urlencode(sorted(self.options.items()), safe='/:,.@')}" if self.options else ""
        return f"{self.provider}{name}{revision}{options}"

    @property
    def named(self) -> str:
        """What stands between the provider and the options."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    def read_options(self, schema: type[OptionsT]) -> OptionsT:
        """The options as an engine's own typed options.

        Raises:
            UsageError: an option is unknown or has a value of the wrong kind; the sentence names it.
        """
        unknown = sorted(set(self.options) - set(schema.model_fields))
        if unknown:
            raise unknown_name(f"option of {self.provider} models", unknown[0], list(schema.model_fields))
        try:
            return schema.model_validate(dict(self.options))
        except ValidationError as error:
            first = error.errors()[0]
            option = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{self}: the option {option}={first['input']!r} is wrong: {first['msg']}") from None


def parse_spec(text: str) -> ModelSpec:
    """Parse a model spec.

    Raises:
        UsageError: the text is empty, or an option is not of the form name=value, or is given twice.
    """
    head, _, query = text.strip().partition("?")
    provider, _, rest = head.partition(":")
    if not provider:
        raise UsageError(f"{text!r} is no model spec: write provider:name, for example smollm2 or openai:gpt-4o-mini")
    name, _, revision = rest.rpartition("@") if "@" in rest else (rest, "", "")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise UsageError(f"{text!r}: options are written ?name=value&name=value, not ?{query}") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise UsageError(f"{text!r}: an option is given twice")
    return ModelSpec(provider, name, revision, options)
