"""Structured output from any model: a value that fits a JSON Schema or a pydantic class, or an error that says why not.

Where the engine can constrain a reply to a schema, it does. Where it cannot, the schema is asked for in words, and the
JSON is looked for in the reply. In both cases the reply is checked; one that does not fit is answered with what is
wrong, and asked for again, a limited number of times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from whetstone.errors import ModelError
from whetstone.models import ChatModel
from whetstone.prompting.structured_value import Attempt, Structured, StructuredRates
from whetstone.prompting.structurer import REPAIRS, Structurer
from whetstone.types import Message, Options

__all__ = ["REPAIRS", "Attempt", "Structured", "StructuredRates", "Structurer", "structured", "structured_many"]

T = TypeVar("T")


@overload
def structured(
    model: ChatModel, messages: Sequence[Message], schema: type[T], *, options: Options = ..., repairs: int = ...
) -> Structured[T]: ...
@overload
def structured(
    model: ChatModel,
    messages: Sequence[Message],
    schema: Mapping[str, Any],
    *,
    options: Options = ...,
    repairs: int = ...,
) -> Structured[Any]: ...
def structured(
    model: ChatModel,
    messages: Sequence[Message],
    schema: Any,
    *,
    options: Options = Options(),  # noqa: B008
    repairs: int = REPAIRS,
) -> Structured[Any]:
    """One value that fits a schema.

    Args:
        messages: the question. What form the answer takes need not be said.
        schema: a JSON Schema (2020-12), or a pydantic class or type (`list[Item]`).
        options: of every request; json_schema and tools must not be among them.
        repairs: how often a reply that does not fit is asked for again.

    Raises:
        UsageError: the schema cannot be worked with, or the messages end with the assistant's.
        MisfitError: no reply fit.
        ModelError: the model could not answer.
    """
    return Structurer(model, schema, options=options, repairs=repairs).ask(messages)


@overload
def structured_many(
    model: ChatModel,
    conversations: Sequence[Sequence[Message]],
    schema: type[T],
    *,
    options: Options = ...,
    repairs: int = ...,
) -> Iterator[tuple[int, Structured[T] | ModelError]]: ...
@overload
def structured_many(
    model: ChatModel,
    conversations: Sequence[Sequence[Message]],
    schema: Mapping[str, Any],
    *,
    options: Options = ...,
    repairs: int = ...,
) -> Iterator[tuple[int, Structured[Any] | ModelError]]: ...
def structured_many(
    model: ChatModel,
    conversations: Sequence[Sequence[Message]],
    schema: Any,
    *,
    options: Options = Options(),  # noqa: B008
    repairs: int = REPAIRS,
) -> Iterator[tuple[int, Structured[Any] | ModelError]]:
    """`(index, value)` for many conversations, in any order, each as soon as it is known.

    An error that concerns one conversation takes its place; any other is raised. See `structured`.
    """
    return Structurer(model, schema, options=options, repairs=repairs).ask_many(conversations)
