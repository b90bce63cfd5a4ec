"""Specs of models that answer from documents: `kb:NAME@MODEL`, where MODEL is a spec with its own colon and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from whetstone.models.spec import ModelSpec, parse_spec

KNOWLEDGE = "kb"
DEFAULT_ANSWERING = "smollm2"


def knowledge_name(spec: ModelSpec) -> str:
    """NAME of `kb:NAME@MODEL`."""
    return _named(spec).partition("@")[0]


def answering_spec(spec: ModelSpec) -> ModelSpec:
    """The model that writes the answers: MODEL of `kb:NAME@MODEL?option=value`; of any other spec, itself."""
    if spec.provider != KNOWLEDGE:
        return spec
    model = _named(spec).partition("@")[2]
    return replace(parse_spec(model or DEFAULT_ANSWERING), options=spec.options)


def knowledge_spec(name: str, model: str) -> str:
    """`kb:NAME@MODEL`; in place of the knowledge base that the model may have already."""
    return f"{KNOWLEDGE}:{name}@{answering_spec(parse_spec(model))}"


def knowledge_offers(models: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """What to offer of knowledge bases, name -> spec: each answered by the first of the models as `kb:NAME`, by any
    other one as `kb:NAME@MODEL`.

    Args:
        models: name -> spec, of what is offered already.
        names: of knowledge bases.
    """
    answering = [name for name, spec in models.items() if parse_spec(spec).provider != KNOWLEDGE] or list(models)
    return {
        f"{KNOWLEDGE}:{base}{f'@{name}' if number else ''}": knowledge_spec(base, models[name])
        for base in names
        for number, name in enumerate(answering)
    }


def _named(spec: ModelSpec) -> str:
    return f"{spec.name}@{spec.revision}" if spec.revision else spec.name
