"""Model specs: `provider:name[@revision][?option=value&...]`.

Examples: `smollm2`, `gguf:./model.gguf?context=8192`, `hf:Qwen/Qwen2.5-0.5B-Instruct@main?quantize=nf4`,
`openai:gpt-4o-mini`, `ollama:llama3.2:1b`, `openai:any?base_url=http://host/v1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from whetstone.models.base import ChatModel
from whetstone.specs import ModelSpec, parse_spec

__all__ = ["Listing", "ModelSpec", "Provider", "parse_spec"]


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of `whet models`: a spec, whether it is usable here and now, and why not (or what it is)."""

    spec: str
    usable: bool
    note: str = ""


class Provider(Protocol):
    """The first part of a spec: it loads models, and says what it could load here."""

    def load(self, spec: ModelSpec) -> ChatModel:
        """The model. Cheap where it can be: weights may be loaded on first use."""
        ...

    def listing(self) -> Iterator[Listing]:
        """What is usable here, and why the rest is not. Opens no connection beyond loopback."""
        ...
