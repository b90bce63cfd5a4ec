"""Entities: names that a model found, looked up in the text, so that each has a place in it.

What a model lists is not believed: a name that the text does not hold is dropped and counted. Of one that it does hold,
every mention is an entity.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_NAME = 120  # characters of a name
_LEAST_MENTION = 3  # characters: two of a name, and what parts it from the next
_MOST_LISTED = 64  # entities that are counted off while a model writes: grammars grow with it


@dataclass(frozen=True, slots=True)
class Entity:
    """A mention of something in a text.

    Attributes:
        text: as the text writes it.
        type: one of the types that were asked for.
        start, end: in characters of the text: `text[start:end]` is the mention.
    """

    text: str
    type: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Located:
    """Names looked up in a text.

    Attributes:
        entities: every mention, by where it stands; none overlaps another.
        dropped: names, with their types, that the text does not hold.
    """

    entities: tuple[Entity, ...]
    dropped: tuple[tuple[str, str], ...]


def entity_schema(types: Iterable[str], text: str) -> dict[str, Any]:
    """The JSON Schema of a model's list of entities.

    The list is no longer than a short text allows: small models that are held to a schema go on listing. Lengths are
    powers of two, so that texts alike in length have one schema and are asked about together.
    """
    most = 1 << (len(text) // _LEAST_MENTION).bit_length()
    listed: dict[str, Any] = {"maxItems": most} if most <= _MOST_LISTED else {}
    named = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 1, "maxLength": MOST_NAME},
            "type": {"type": "string", "enum": list(types)},
        },
        "required": ["text", "type"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"entities": {"type": "array", "items": named, **listed}},
        "required": ["entities"],
        "additionalProperties": False,
    }


def names_in(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (name, type) pairs of a reply of that schema, each once."""
    pairs = [(one["text"].strip(), one["type"]) for one in value["entities"]]
    return list(dict.fromkeys(pair for pair in pairs if pair[0]))


def locate(text: str, named: Iterable[tuple[str, str]]) -> Located:
    """Every mention in a text of names, given with their types.

    Longer names come first: in "Ada Lovelace", "Lovelace" is no mention of its own. A name said with two types has the
    one that was said first. Where the text does not write a name exactly so, its white space, its case and its form of
    Unicode may differ.
    """
    unique: dict[str, str] = {}
    for name, kind in named:
        unique.setdefault(name, kind)
    taken = bytearray(len(text))
    found: list[Entity] = []
    dropped: list[tuple[str, str]] = []
    for name in sorted(unique, key=len, reverse=True):
        spans = _spans(text, name)
        if not spans:
            dropped.append((name, unique[name]))
        for start, end in spans:
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append(Entity(text[start:end], unique[name], start, end))
    order = list(unique)
    return Located(
        tuple(sorted(found, key=lambda entity: entity.start)),
        tuple(sorted(dropped, key=lambda pair: order.index(pair[0]))),
    )


def _spans(text: str, name: str) -> list[tuple[int, int]]:
    """Where a name stands in a text: as it is written, else with other white space, case or Unicode form."""
    if not name.strip():
        return []
    for pattern, flags in ((re.escape(name), 0), (_loose(name), re.IGNORECASE)):
        spans = [match.span() for match in re.finditer(pattern, text, flags)]
        if whole := [span for span in spans if _stands_alone(text, *span)]:
            return whole
    return []


def _loose(name: str) -> str:
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    return "|".join(r"\s+".join(map(re.escape, form.split())) for form in sorted(forms))


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a span is no piece of a longer word."""
    return not (_joined(text, start - 1, start) or _joined(text, end - 1, end))


def _joined(text: str, left: int, right: int) -> bool:
    """Whether the characters at two neighbouring places belong to one word.

    In scripts with upper and lower case a word ends where its letters end. In others words are not parted (Chinese,
    Thai), or endings and prefixes are written onto names (Korean, Arabic), so a name may stand inside of one.
    """
    if left < 0 or right >= len(text):
        return False
    one, other = text[left], text[right]
    return one.isalnum() and other.isalnum() and (_cased(one) or one.isdigit()) and (_cased(other) or other.isdigit())


def _cased(letter: str) -> bool:
    return letter.lower() != letter.upper()
