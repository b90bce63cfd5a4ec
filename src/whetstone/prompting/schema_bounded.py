"""A JSON Schema in the form in which an engine obeys it while a model writes.

Grammars and strict modes know a part of JSON Schema. What they do not know is left out, so that the form allows what
the schema allows or little more; whether a reply fits is checked against the schema itself afterwards. Recursion is
unrolled to a few levels, since a model in a grammar that may go deeper for ever does so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from whetstone.errors import UsageError
from whetstone.prompting.grammar_pattern import grammar_pattern
from whetstone.prompting.schema_check import ANNOTATIONS, Schema, target_of
from whetstone.prompting.schema_recursion import recursive_targets

LEVELS = 3  # of a recursive structure, beyond those that it needs
_MOST_PARTS = 4_000
_LONGEST_TEXT = 5_000  # characters that a grammar counts; it grows with them

# What the grammars of llama.cpp and the strict modes of endpoints leave out, or refuse. The check afterwards knows it.
_LEFT_OUT = (
    {"not", "if", "then", "else", "dependentSchemas", "dependentRequired", "uniqueItems", "contains", "maxContains"}
    | {"minContains", "multipleOf", "propertyNames", "patternProperties", "unevaluatedItems", "unevaluatedProperties"}
    | {"minProperties", "maxProperties", "$defs", "definitions"}
    | (ANNOTATIONS - {"description"})
)


@dataclass(frozen=True, slots=True)
class Room:
    """What lists and texts without a limit of their own may take: for a model that would not come to an end."""

    items: int = 5
    characters: int = 120


class _TooLarge(Exception):
    pass


def engine_form(schema: Schema, *, room: Room | None = None, strict: bool = False) -> Schema | None:
    """The schema as an engine takes it; None where that would be too large for one.

    Args:
        schema: as `checked_schema` gives it.
        room: limits for what has none of its own, and for recursion.
        strict: every property is required, as the strict modes of some endpoints want it.

    Raises:
        UsageError: no finite value fits the schema.
    """
    try:
        built = _Form(schema, room, strict).whole()
    except (_TooLarge, RecursionError):
        return None
    if not isinstance(built, dict):
        raise UsageError(
            "no value of finite size fits the schema: it requires something inside itself, or requires what it forbids"
        )
    return built


class _Form:
    """Builds one form. False stands for a schema that nothing fits."""

    def __init__(self, schema: Schema, room: Room | None, strict: bool) -> None:
        self._schema = schema
        self._room = room
        self._strict = strict
        self._parts = 0
        self._recursive = recursive_targets(schema)
        self._names: dict[tuple[str, int], str] = {}
        self._definitions: dict[str, Schema | bool] = {}

    def whole(self) -> Schema | bool:
        # A structure of n recursive parts needs at most n of them inside one another to end.
        levels = len(self._recursive) + (0 if self._room is not None else LEVELS)
        built = self._build(self._schema, levels)
        if isinstance(built, dict):
            used = {name: one for name, one in self._definitions.items() if isinstance(one, dict)}
            return {**built, "$defs": used} if used else built
        return built

    def _count(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _TooLarge

    def _build(self, part: Any, levels: int) -> Schema | bool:
        """One part, with so many levels of recursion left. Never True: that is {}."""
        self._count()
        if isinstance(part, bool):
            return self._anything() if part else False
        kept = _known(part)
        own = {key: kept.pop(key) for key in list(kept) if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        applied = [{"$ref": kept["$ref"]}] if "$ref" in kept else []
        applied += kept.get("allOf", [])
        choices = [kept[key] for key in ("anyOf", "oneOf") if key in kept]
        if not set(own) - {"description"} and len(applied) + len(choices) == 1:
            alone = self._reference(applied[0], levels) if applied else self._choice(choices[0], levels, {})
            return {**alone, **own} if isinstance(alone, dict) and "$ref" not in alone else alone
        merged: Schema | bool = dict(own)
        for one in applied:
            words, levels = self._inlined(one, levels)
            merged = _merged(merged, words)
        if choices and isinstance(merged, dict):
            return self._choice(choices[0], levels, merged)  # a second choice is left to the check
        return self._finished(merged, levels) if isinstance(merged, dict) else False

    def _inlined(self, part: Any, levels: int) -> tuple[Schema | bool, int]:
        """A part's own words, with those of what it refers to: for merging with others. And the levels then left."""
        self._count()
        if isinstance(part, bool):
            return ({} if part else False), levels
        words: Schema | bool = {key: v for key, v in _known(part).items() if key not in ("$ref", "allOf", "oneOf")}
        if "oneOf" in part and isinstance(words, dict):
            words.setdefault("anyOf", part["oneOf"])
        for one in part.get("allOf", []):
            theirs, levels = self._inlined(one, levels)
            words = _merged(words, theirs)
        if "$ref" in part:
            levels -= target_of(part["$ref"]) in self._recursive
            theirs, levels = self._inlined(self._at(part["$ref"]), levels)
            words = _merged(words, theirs)
        return (False if levels < 0 else words), levels

    def _choice(self, branches: list[Any], levels: int, base: Schema) -> Schema | bool:
        """One of several, each with what holds for all."""
        base = {key: value for key, value in base.items() if key != "anyOf"}
        built = []
        for branch in branches:
            if set(base) - {"description"}:
                words, left = self._inlined(branch, levels)
                merged = _merged(base, words)
                one = self._build(merged, left) if isinstance(merged, dict) else False
            else:
                one = self._build(branch, levels)
            if one is not False and one not in built:
                built.append(one)
        described = {"description": base["description"]} if "description" in base else {}
        if not built:
            return False
        if len(built) == 1 and isinstance(built[0], dict):
            return {**built[0], **described} if "$ref" not in built[0] else built[0]
        return {"anyOf": built, **described}

    def _reference(self, part: Any, levels: int) -> Schema | bool:
        """A part that may be a reference: as one to a definition of ours, made when it is first needed."""
        if not isinstance(part, dict) or "$ref" not in part:
            return self._build(part, levels)
        target = target_of(part["$ref"])
        if target in self._recursive:
            levels -= 1
            if levels < 0:
                return False
        key = (target, levels)
        if key not in self._names:
            plain = re.sub(r"\W+", "_", target.rpartition("/")[2]) or "whole"
            self._names[key] = f"{plain}_{len(self._names)}"
            self._definitions[self._names[key]] = self._build(self._at(part["$ref"]), levels)
        if self._definitions[self._names[key]] is False:
            return False
        return {"$ref": f"#/$defs/{self._names[key]}"}

    def _at(self, reference: str) -> Any:
        found: Any = self._schema
        for step in filter(None, target_of(reference).split("/")):
            step = step.replace("~1", "/").replace("~0", "~")
            found = found[int(step)] if isinstance(found, list) else found[step]
        return found

    def _finished(self, words: Schema, levels: int) -> Schema | bool:
        """A part that is no reference and no choice, with the parts below it built."""
        if words.get("anyOf"):
            return self._choice(words["anyOf"], levels, words)
        kinds = words.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        if "enum" in words or "const" in words:
            return {key: words[key] for key in ("type", "enum", "const", "description") if key in words}
        if not kinds and not set(words) - {"description"}:
            return {**self._anything(), **words}
        failed = []
        for names, build in (
            ({"properties", "required", "additionalProperties"}, self._object),
            ({"items", "prefixItems", "minItems", "maxItems"}, self._array),
        ):
            kind = "object" if build == self._object else "array"
            if not (kind in kinds or (not kinds and names & set(words))):
                words = {key: value for key, value in words.items() if key not in names}
            elif (built := build(words, levels)) is None:
                words = {key: value for key, value in words.items() if key not in names}
                failed.append(kind)
            else:
                words = built
        kinds = [kind for kind in kinds if kind not in failed]
        if failed and not kinds:
            return False
        if kinds:
            words["type"] = kinds[0] if len(kinds) == 1 else kinds
        self._text(words, kinds)
        return words

    def _object(self, words: Schema, levels: int) -> Schema | None:
        """None where no object fits."""
        others = words.get("additionalProperties", True)
        required = list(words.get("required", ()))
        wanted = {
            **words.get("properties", {}),
            **{name: others for name in required if name not in words.get("properties", {})},
        }
        properties = {name: self._reference(one, levels) for name, one in wanted.items()}
        if any(properties[name] is False for name in required):
            return None
        properties = {name: one for name, one in properties.items() if one is not False}
        built = {key: v for key, v in words.items() if key not in ("properties", "required", "additionalProperties")}
        # With little room, others come only where nothing else could.
        rest = (
            self._reference(others, levels) if isinstance(others, dict) and not (self._room and properties) else False
        )
        if not wanted and others is True:
            return {**built, "type": words.get("type", "object")}  # any object: nothing is known of it
        built |= {"type": words.get("type", "object"), "properties": properties, "additionalProperties": rest}
        if names := list(properties) if self._strict else required:
            built["required"] = [name for name in properties if name in names]
        return built

    def _array(self, words: Schema, levels: int) -> Schema | None:
        """None where no list fits."""
        built = {key: v for key, v in words.items() if key not in ("items", "prefixItems")}
        built["type"] = words.get("type", "array")
        least = words.get("minItems", 0)
        if "prefixItems" in words:
            first = [self._reference(one, levels) for one in words["prefixItems"]]
            if False in first:
                first = first[: first.index(False)]
            if len(first) < min(least, len(words["prefixItems"])):
                return None
            # Grammars know lists of fixed length only.
            built = {key: v for key, v in built.items() if key not in ("minItems", "maxItems")}
            return built | {"prefixItems": first}
        items = self._reference(words.get("items", True), levels)
        if items is False:
            return None if least else built | {"items": {"type": "null"}, "maxItems": 0}
        if self._room is not None and "maxItems" not in words:
            built["maxItems"] = max(least, self._room.items)
        return built | {"items": items}

    def _text(self, words: Schema, kinds: list[str]) -> None:
        """Adapt what is said of a text."""
        if "pattern" in words and (pattern := grammar_pattern(words.pop("pattern"))) is not None:
            words["pattern"] = pattern
        if words.get("maxLength", 0) > _LONGEST_TEXT:
            del words["maxLength"]
        unlimited = not {"maxLength", "pattern", "format"} & set(words)
        if self._room is not None and "string" in kinds and unlimited:
            words["maxLength"] = max(words.get("minLength", 0), self._room.characters)

    def _anything(self) -> Schema:
        """What may be anything; with little room, nothing that could go on for ever."""
        if self._room is None:
            return {}
        text = {"type": "string", "maxLength": self._room.characters}
        return {"anyOf": [text, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]}


def _known(part: Schema) -> Schema:
    """What engines know of a part."""
    kept = {key: value for key, value in part.items() if key not in _LEFT_OUT and not key.startswith("x-")}
    patterns = part.get("patternProperties")
    if patterns and kept.get("additionalProperties") is False:  # names that no engine checks, but there may be some
        kept["additionalProperties"] = next(iter(patterns.values())) if len(patterns) == 1 else True
    return kept


def _merged(one: Schema | bool, other: Schema | bool) -> Schema | bool:
    """What fits both, or a little more."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    merged = {**one, **other}
    if isinstance(one.get("properties"), dict) and isinstance(other.get("properties"), dict):
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *(name for name in other["required"] if name not in one["required"])]
    if "type" in one and "type" in other and one["type"] != other["type"]:
        kinds = [one["type"]] if isinstance(one["type"], str) else one["type"]
        theirs = [other["type"]] if isinstance(other["type"], str) else other["type"]
        # Every integer is a number.
        both = [kind for kind in kinds if kind in theirs or (kind == "integer" and "number" in theirs)]
        both += [kind for kind in theirs if kind == "integer" and "number" in kinds and kind not in both]
        if not both:
            return False
        merged["type"] = both[0] if len(both) == 1 else both
    if isinstance(one.get("enum"), list) and isinstance(other.get("enum"), list):
        merged["enum"] = [value for value in one["enum"] if value in other["enum"]]
        if not merged["enum"]:
            return False
    return merged
