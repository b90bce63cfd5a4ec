"""What a JSON Schema must be before a model is asked to fill it in: finite, local, and without a misspelt word.

A schema may come from a file of the user's. What could hang a validator or reach out to the network is found here, in
time linear in the schema, and told in one sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote

from whetstone.errors import UsageError

Schema = dict[str, Any]

MOST_CHARACTERS = 200_000
MOST_PARTS = 2_000
DEEPEST = 64

# Where schemas stand inside a schema.
ONE = frozenset(
    {"additionalProperties", "items", "contains", "propertyNames", "not", "if", "then", "else"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
# Of these, what applies to the very value that the schema around them applies to.
_SAME_VALUE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
_ASSERTIONS = frozenset(
    {"type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"}
    | {"maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains"}
    | {"maxProperties", "minProperties", "required", "dependentRequired", "format"}
)
ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly"}
    | {"writeOnly", "contentEncoding", "contentMediaType", "discriminator"}
)
_TYPES = "array, boolean, integer, null, number, object, string"
_KNOWN = {"$ref"} | ONE | LISTED | NAMED | _ASSERTIONS | ANNOTATIONS
# A repeated group that itself holds a repetition: Python's regular expressions may take for ever over a reply.
_NESTED_REPEAT = re.compile(r"\((?:[^()\\]|\\.)*(?:[+*]|\{\d*,\d*\})(?:[^()\\]|\\.)*\)(?:[+*]|\{\d*,)")


def checked_schema(schema: Mapping[str, Any], *, ours: bool = False) -> Schema:
    """A schema of the 2020-12 dialect as plain JSON values, once it has been seen that it can be worked with.

    A schema that says it is of an earlier draft is read as 2020-12; what is no longer known there is named.

    Args:
        ours: pydantic made it, which may carry words of the programmer's own, and checks patterns in linear time.

    Raises:
        UsageError: it is no JSON, too large, no schema, has a keyword that is not known, refers to something outside
            itself or to nothing, or contains itself without an end.
    """
    plain = _plain(schema)
    _check_depth(plain)
    parts = dict(_parts(plain))
    if len(parts) > MOST_PARTS:
        raise UsageError(f"the schema has {len(parts):,} parts, and the limit is {MOST_PARTS:,}: ask for less at once")
    for pointer, part in parts.items():
        _check_part(pointer, part, parts, ours=ours)
    _check_dialect(plain)
    _check_endless(parts)
    return plain


def target_of(reference: str) -> str:
    """The JSON pointer that a local reference names, in our spelling: "" for the whole schema."""
    return unquote(reference.removeprefix("#"))


def _plain(schema: Mapping[str, Any]) -> Schema:
    if not isinstance(schema, Mapping):
        raise UsageError(f'a JSON Schema is an object, such as {{"type": "object"}}, not {str(schema)[:60]!r}')
    try:
        text = json.dumps(schema, allow_nan=False)
    except RecursionError:
        raise UsageError(f"the schema is nested more than {DEEPEST} levels deep") from None
    except (TypeError, ValueError) as error:
        why = "it contains itself; write a $ref" if "ircular" in str(error) else str(error)
        raise UsageError(f"the schema cannot be written as JSON: {why}") from None
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"the schema has {len(text):,} characters, and the limit is {MOST_CHARACTERS:,}")
    plain: Schema = json.loads(text)
    return plain


def _check_depth(plain: Schema) -> None:
    level: list[Any] = [plain]
    for _ in range(2 * DEEPEST):  # an object and a keyword's object each take one
        level = [
            below
            for value in level
            for below in (value.values() if isinstance(value, dict) else value)
            if isinstance(below, dict | list)
        ]
        if not level:
            return
    raise UsageError(f"the schema is nested more than {DEEPEST} levels deep")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def below(part: Schema) -> Iterator[tuple[str, str, Any]]:
    """(keyword, pointer from here, schema) for each schema that stands directly inside another."""
    for keyword, value in part.items():
        if keyword in ONE:
            yield keyword, f"/{keyword}", value
        elif keyword in LISTED and isinstance(value, list):
            yield from ((keyword, f"/{keyword}/{index}", one) for index, one in enumerate(value))
        elif keyword in NAMED and isinstance(value, dict):
            yield from ((keyword, f"/{keyword}/{_escaped(name)}", one) for name, one in value.items())


def _parts(plain: Schema) -> Iterator[tuple[str, Any]]:
    """(JSON pointer, schema) for a schema and every one inside it."""
    waiting: list[tuple[str, Any]] = [("", plain)]
    while waiting:
        pointer, part = waiting.pop()
        yield pointer, part
        if isinstance(part, dict):
            waiting += [(pointer + step, one) for _, step, one in below(part)]


def _check_part(pointer: str, part: Any, parts: Mapping[str, Any], *, ours: bool) -> None:
    at = f"the schema at #{pointer}"
    if isinstance(part, bool):
        return
    if not isinstance(part, dict):
        hint = "; a list of schemas is called prefixItems" if pointer.endswith("/items") else ""
        raise UsageError(f"{at} is {json.dumps(part)[:60]}, where an object, true or false must stand{hint}")
    for keyword in part:
        if keyword in ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor", "$anchor", "$vocabulary"):
            raise UsageError(f"{at}: {keyword} is not supported; write $defs, and $ref to #/$defs/NAME")
        if keyword not in _KNOWN and not keyword.startswith("x-") and not ours:
            near = get_close_matches(keyword, sorted(_KNOWN), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{at}: {keyword!r} is no keyword of JSON Schema 2020-12{hint}")
    if pointer and "$id" in part:
        raise UsageError(f"{at}: $id inside a schema is not supported; write $defs, and $ref to #/$defs/NAME")
    if "$ref" in part:
        _check_reference(at, part["$ref"], parts)
    if isinstance(part.get("pattern"), str) and not ours:
        _check_pattern(at, part["pattern"])
    for pattern in part["patternProperties"] if isinstance(part.get("patternProperties"), dict) and not ours else ():
        _check_pattern(at, pattern)


def _check_reference(at: str, reference: Any, parts: Mapping[str, Any]) -> None:
    if not isinstance(reference, str) or (reference != "#" and not reference.startswith("#/")):
        raise UsageError(
            f"{at}: $ref is {reference!r}; only references inside the schema are followed, such as #/$defs/NAME"
        )
    if target_of(reference) not in parts:
        raise UsageError(f"{at}: $ref {reference!r} names nothing in the schema")


def _check_pattern(at: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"{at}: the pattern {pattern[:60]!r} is no regular expression: {error}") from None
    if _NESTED_REPEAT.search(pattern):
        raise UsageError(
            f"{at}: the pattern {pattern[:60]!r} repeats a group that repeats something itself, which may take for "
            "ever on some replies; write it without one of the repetitions"
        )


def _check_dialect(plain: Schema) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    dialect = plain.get("$schema", "")
    if dialect and "json-schema.org/" not in str(dialect):
        raise UsageError(f"the schema is of the dialect {dialect!r}; write it as JSON Schema 2020-12")
    try:
        Draft202012Validator.check_schema({key: value for key, value in plain.items() if key != "$schema"})
    except SchemaError as error:
        steps = [str(step) for step in error.absolute_path]
        if steps[-1:] == ["type"]:
            raise UsageError(f"the schema at #/{'/'.join(steps)}: {error.instance!r} is none of {_TYPES}") from None
        raise UsageError(f"the schema at #/{'/'.join(steps)}: {error.message[:200]}") from None


def _check_endless(parts: Mapping[str, Any]) -> None:
    """Refuse a schema that comes back to itself before it has taken a step into the value: no check would end."""
    done: set[str] = set()
    for start in parts:
        path: list[tuple[str, Iterator[str]]] = [(start, _same_value(start, parts[start]))] if start not in done else []
        open_ = {start} if path else set()
        while path:
            pointer, following = path[-1]
            step = next(following, None)
            if step is None:
                path.pop()
                open_.discard(pointer)
                done.add(pointer)
            elif step in open_:
                raise UsageError(
                    f"the schema at #{step} refers back to itself with no object or list between, so that no value "
                    "could ever be checked; let a property or the items of a list refer to it"
                )
            elif step not in done:
                open_.add(step)
                path.append((step, _same_value(step, parts[step])))


def _same_value(pointer: str, part: Any) -> Iterator[str]:
    """The pointers of what a schema applies to the same value."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield target_of(part["$ref"])
        yield from (pointer + step for keyword, step, _ in below(part) if keyword in _SAME_VALUE)
