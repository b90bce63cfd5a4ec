"""Which parts of a JSON Schema come back to themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whetstone.prompting.schema_check import Schema, below, target_of


def recursive_targets(schema: Schema) -> frozenset[str]:
    """The pointers that are referred to from inside themselves."""
    inside: dict[str, set[str]] = {}  # a target -> the targets that stand directly below it
    waiting: list[tuple[str, Any]] = [("", schema)]
    everything: dict[str, Any] = {}
    while waiting:
        pointer, part = waiting.pop()
        everything[pointer] = part
        if isinstance(part, dict):
            waiting += [(pointer + step, one) for _, step, one in below(part)]
    targets = {target_of(part["$ref"]) for part in everything.values() if isinstance(part, dict) and "$ref" in part}
    for target in targets:
        met: set[str] = set()
        parts = [everything[target]]
        while parts:
            part = parts.pop()
            if isinstance(part, dict):
                met |= {target_of(part["$ref"])} if "$ref" in part else set()
                parts += [one for keyword, _, one in below(part) if keyword not in ("$defs", "definitions")]
        inside[target] = met
    return frozenset(target for target in targets if _reaches(target, inside))


def _reaches(start: str, inside: Mapping[str, set[str]]) -> bool:
    met: set[str] = set()
    waiting = list(inside[start])
    while waiting:
        target = waiting.pop()
        if target == start:
            return True
        if target not in met:
            met.add(target)
            waiting += inside[target]
    return False
