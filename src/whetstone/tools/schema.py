"""Schemas of arguments in the form that every engine takes: one plain tree, without references.

A tool's schema is put inside another one where a reply is constrained (`models.tool_form`), where "#/$defs/..." would
point at nothing, and providers differ in which references they follow. So references are replaced by what they refer
to. One that refers to itself, however indirectly, is followed `_DEEPEST_CYCLE` times; below that anything is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whetstone.errors import UsageError

_DEEPEST_CYCLE = 3
_DEEPEST = 64
_MOST_PARTS = 5_000

_OF_SCHEMAS = {"properties", "patternProperties", "dependentSchemas"}  # name -> schema
_DEFINITIONS = {"$defs", "definitions"}
_LEFT_OUT = {"title", "$schema", "$id", "$anchor", "$comment", "discriminator"}  # say nothing about what is allowed
_VALUES = {"const", "enum", "default", "examples", "required", "type", "description", "format", "pattern"}


def plain_schema(schema: Mapping[str, Any], tool: str) -> dict[str, Any]:
    """A schema of arguments as one tree.

    Args:
        schema: of type object; may hold references to its own parts.
        tool: whose it is, for messages.

    Raises:
        UsageError: it is not of type object, refers to something outside itself or to nothing, or is too large.
    """
    plain = _Tree(schema, tool).plain(schema, (), 0)
    kind = plain.setdefault("type", "object")
    if kind != "object":
        raise UsageError(f"the tool {tool}: its arguments are of type {kind!r}, and must be an object")
    plain.setdefault("properties", {})
    return plain


class _Tree:
    def __init__(self, root: Mapping[str, Any], tool: str) -> None:
        self._root = root
        self._tool = tool
        self._parts = 0

    def plain(self, schema: Any, within: tuple[str, ...], depth: int) -> dict[str, Any]:
        """One schema; `within` are the references that led to it."""
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise UsageError(f"the tool {self._tool}: the schema of its arguments is too large or too deep to show")
        if isinstance(schema, bool):
            return {} if schema else {"not": {}}
        if not isinstance(schema, Mapping):
            raise UsageError(f"the tool {self._tool}: a part of its schema is {schema!r}, and must be an object")
        told: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _DEFINITIONS or key in _LEFT_OUT or key == "$ref":
                continue
            told[key] = self._below(key, value, within, depth)
        reference = schema.get("$ref")
        if reference is None:
            return told
        if within.count(reference) >= _DEEPEST_CYCLE:
            return told
        return {**self.plain(self._found(reference), (*within, reference), depth + 1), **told}

    def _below(self, key: str, value: Any, within: tuple[str, ...], depth: int) -> Any:
        if key in _VALUES:
            return value
        if key in _OF_SCHEMAS and isinstance(value, Mapping):
            return {name: self.plain(one, within, depth + 1) for name, one in value.items()}
        if isinstance(value, Mapping):
            return self.plain(value, within, depth + 1)
        if isinstance(value, list):
            return [self.plain(one, within, depth + 1) if isinstance(one, Mapping | bool) else one for one in value]
        return value

    def _found(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UsageError(
                f"the tool {self._tool}: its schema refers to {reference!r}, which lies outside it; nothing is fetched"
            )
        found: Any = self._root
        for step in filter(None, reference[1:].split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise UsageError(f"the tool {self._tool}: its schema refers to {reference!r}, and has no such part")
        return found
