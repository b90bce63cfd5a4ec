"""Model families: which variant of a prompt suits a model, by the model's name."""

from __future__ import annotations

import json
import re
from pathlib import Path

from whetstone.errors import WhetstoneError
from whetstone.models import ChatModel, ModelSpec, parse_spec
from whetstone.models.base import answers_apart
from whetstone.models.knowledge_spec import answering_spec

# Looked for in this order: a distilled model bears two names, the first of which made its chat template.
_FAMILIES = {
    "deepseek": r"deepseek",
    "smollm": r"smol-?lm",
    "t5": r"(?<![a-z])(?:flan-|long-?|m|by|u)?t5(?![0-9a-z])|(?<![a-z])(?:flan-)?ul2",
    "bart": r"(?<![a-z])m?bart(?![a-z])",
    "llama": r"llama",
    "qwen": r"qwen|qwq",
    "gemma": r"gemma",
    "mistral": r"mi[sx]tral|ministral",
    "phi": r"(?<![a-z])phi(?![a-z])",
    "gpt": r"(?<![a-z])gpt(?![a-z])|(?<![a-z])o[1345](?![0-9a-z])",
    "claude": r"claude",
    "gemini": r"gemini",
}
FAMILIES: tuple[str, ...] = tuple(sorted(_FAMILIES))
"""The families that `family_of` knows; a prompt may have variants for others too."""

_PATTERNS = [(family, re.compile(pattern)) for family, pattern in _FAMILIES.items()]


def family_of(model: ChatModel | str) -> str | None:
    """The family of a model, or of the model that a spec names; None where its name tells none.

    A folder of weights is asked for the model type in its config.json where its own name tells nothing. Of a loaded
    model that is an encoder-decoder of no known name, it is "t5".

    Raises:
        UsageError: the spec cannot be read.
    """
    spec = parse_spec(model if isinstance(model, str) else model.identity.spec)
    family = _of_spec(answering_spec(spec))
    if family is None and not isinstance(model, str) and answers_apart(model):
        return "t5"
    return family


def _of_spec(spec: ModelSpec) -> str | None:
    # The embedded model's name stands where others have their provider.
    name = spec.named if spec.name else spec.provider
    return _of_name(Path(name).name) or _of_name(name) or _of_name(_model_type(Path(name).expanduser()))


def _of_name(name: str) -> str | None:
    name = name.lower().replace("_", "-")
    return next((family for family, pattern in _PATTERNS if pattern.search(name)), None)


def _model_type(folder: Path) -> str:
    """What config.json calls the model, "" where there is no such file."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, WhetstoneError):
        return ""
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""
