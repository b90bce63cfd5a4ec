"""A prompt run with values: what was asked, what came back, and what that took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whetstone.errors import MisfitError, ModelError
from whetstone.models import ChatModel, replies
from whetstone.models.catalogue import cost
from whetstone.prompting.structured import Structured, StructuredRates, Structurer
from whetstone.prompting.template import Template
from whetstone.types import Message, ModelIdentity, Options, Reply, Usage


@dataclass(frozen=True)
class PromptAnswer:
    """What came back.

    Attributes:
        values: what the prompt was filled in with.
        messages: what was asked.
        text: the reply; "" where there is none.
        value: of a prompt with a schema, the reply as the schema says.
        attempts: how often it was asked: more than once where a reply did not fit the schema.
        error: why there is no reply, or none that fits; "" where there is one.
        cost: in US dollars; None where no price is known.
    """

    values: Mapping[str, Any]
    messages: Sequence[Message]
    text: str = ""
    value: Any = None
    attempts: int = 1
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost: float | None = None
    finish_reason: str | None = None


def run_prompt(
    template: Template,
    model: ChatModel,
    rows: Sequence[Mapping[str, Any]],
    *,
    options: Options = Options(),  # noqa: B008
    schema: Mapping[str, Any] | None = None,
    rates: StructuredRates | None = None,
) -> Iterator[tuple[int, PromptAnswer]]:
    """Ask a model once for every set of values.

    Args:
        rows: values for the template's variables.
        schema: a JSON Schema that replies have to fit; see `whetstone.prompting.structured`.
        rates: of a prompt with a schema, counts how its replies came to fit.

    Returns:
        `(index, answer)`, each as soon as it is there. A failure that concerns one row is its answer's `error`.

    Raises:
        UsageError: a variable has no value, or the schema cannot be used; before anything is asked.
        ModelError: the model cannot answer at all.
    """
    conversations = [template.messages(row) for row in rows]
    identity = model.identity
    if schema is None:
        for index, given in replies(model, conversations, options):
            yield index, _of_reply(identity, rows[index], conversations[index], given)
        return
    structurer: Structurer[Any] = Structurer(model, schema, options=options)
    for index, found in structurer.ask_many(conversations):
        if rates is not None:
            rates.count(found)
        yield index, _of_value(identity, rows[index], conversations[index], found)


def _of_reply(
    identity: ModelIdentity, values: Mapping[str, Any], messages: Sequence[Message], given: Reply | ModelError
) -> PromptAnswer:
    if isinstance(given, ModelError):
        return PromptAnswer(values, messages, error=str(given))
    return PromptAnswer(
        values,
        messages,
        given.text,
        usage=given.usage,
        seconds=given.seconds,
        cost=cost(identity, given.usage),
        finish_reason=given.finish_reason,
    )


def _of_value(
    identity: ModelIdentity,
    values: Mapping[str, Any],
    messages: Sequence[Message],
    found: Structured[Any] | ModelError,
) -> PromptAnswer:
    if isinstance(found, ModelError):
        if not isinstance(found, MisfitError):
            return PromptAnswer(values, messages, error=str(found))
        return PromptAnswer(values, messages, found.raw, attempts=len(found.errors), error=str(found))
    return PromptAnswer(
        values,
        messages,
        found.raw,
        found.value,
        found.attempts,
        usage=found.usage,
        seconds=found.seconds,
        cost=cost(identity, found.usage),
    )
