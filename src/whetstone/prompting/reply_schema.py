"""What a reply must fit: a JSON Schema or a pydantic class, as a model is told of it and as a reply is checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from whetstone.errors import UsageError
from whetstone.prompting.json_reply import cut_off_value, json_values, without_last_entry
from whetstone.prompting.schema_bounded import Room, engine_form
from whetstone.prompting.schema_check import Schema, checked_schema

T = TypeVar("T")

_MOST_TOLD = 3  # faults of one reply that a model is told of
_FAULT_CHARACTERS = 200
_MOST_OPEN = 8  # lists within lists that a reply may have been cut off in


class UnfitError(ValueError):
    """A reply does not fit; the text says why, in words for the model."""


class ReplySchema(Generic[T]):
    """A schema that replies are to fit.

    Args:
        schema: a JSON Schema (2020-12), or a pydantic class, or anything else pydantic takes for a type.

    Attributes:
        schema: as plain JSON values.
        in_words: the same on one line, as a prompt tells it.

    Raises:
        UsageError: it cannot be worked with; see `checked_schema`.
    """

    def __init__(self, schema: Mapping[str, Any] | type[T]) -> None:
        made = _by_schema(schema) if isinstance(schema, Mapping) else _by_class(schema)
        self.schema: Schema = made[0]
        self._check: Callable[[Any], Any] = made[1]
        self.in_words = json.dumps(
            {key: value for key, value in self.schema.items() if key != "$schema"},
            ensure_ascii=False,
            separators=(", ", ": "),
        )
        self._forms: dict[tuple[Room | None, bool], Schema | None] = {}
        self.for_engine()  # what nothing can fit is told now

    def for_engine(self, *, room: Room | None = None, strict: bool = False) -> Schema | None:
        """As an engine obeys it; see `engine_form`."""
        key = (room, strict)
        if key not in self._forms:
            self._forms[key] = engine_form(self.schema, room=room, strict=strict)
        return self._forms[key]

    def read(self, reply: str) -> T:
        """The value that a reply gives.

        Raises:
            UnfitError: there is none in it, or it does not fit.
        """
        first: UnfitError | None = None
        for value in json_values(reply):
            try:
                return self._checked(value)
            except UnfitError as error:
                first = first or error
        if self.schema.get("type") == "string" or "enum" in self.schema:  # a text that came without its quotes
            try:
                return self._checked(reply.strip().strip("\"'`."))
            except UnfitError as error:
                first = first or error
        raise first or UnfitError("there is no complete JSON in it" if reply.strip() else "it is empty")

    def read_beginning(self, reply: str) -> T:
        """The value of a reply that was cut off: its lists end behind their last whole entry.

        Raises:
            UnfitError: what is there does not fit.
        """
        try:
            value: Any = cut_off_value(reply)
        except ValueError:
            raise UnfitError("it is no JSON") from None
        for _ in range(_MOST_OPEN):
            try:
                return self._checked(value)
            except UnfitError:
                value = without_last_entry(value)
                if value is None:
                    break
        raise UnfitError("there is no whole entry in it")

    def _checked(self, value: Any) -> T:
        try:
            fitting: T = self._check(value)
            return fitting
        except RecursionError:
            raise UnfitError("it is nested too deeply") from None


def _by_schema(given: Mapping[str, Any]) -> tuple[Schema, Callable[[Any], Any]]:
    """A JSON Schema, and the check of a value against it."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = checked_schema(given)
    validator = Draft202012Validator(
        {key: value for key, value in schema.items() if key != "$schema"},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )

    def check(value: Any) -> Any:
        faults = list(itertools.islice(validator.iter_errors(value), _MOST_TOLD))
        if faults:  # of a choice, the branch that came nearest says more than that none fits
            nearest = [best_match([fault]) or fault for fault in faults]
            raise _unfit([(list(fault.absolute_path), fault.message) for fault in nearest])
        return value

    return schema, check


def _by_class(given: Any) -> tuple[Schema, Callable[[Any], Any]]:
    """A class's JSON Schema, and the reading of a value as that class."""
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(given)
        schema = checked_schema(adapter.json_schema(), ours=True)
    except PydanticUserError as error:
        raise UsageError(f"{given!r} cannot be made a JSON Schema: {error.message.splitlines()[0]}") from None

    def read(value: Any) -> Any:
        try:
            return adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False, include_context=False)
            raise _unfit([(list(fault["loc"]), fault["msg"]) for fault in faults[:_MOST_TOLD]]) from None

    return schema, read


def _unfit(faults: list[tuple[list[str | int], str]]) -> UnfitError:
    told = []
    for path, message in faults:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
        message = message if len(message) <= _FAULT_CHARACTERS else f"{message[:_FAULT_CHARACTERS]}…"
        told.append(f"{where}: {message}" if where else message)
    return UnfitError("; ".join(told))
