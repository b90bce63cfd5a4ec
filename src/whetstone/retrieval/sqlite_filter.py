"""A filter in SQLite's words."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping

from whetstone.retrieval.document import Filter


def metadata_text(metadata: Mapping[str, str]) -> str:
    """Metadata as it is kept: JSON with sorted names and no blanks, so that a pair can be looked for as text."""
    return json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def documents_that_pass(where: Filter) -> tuple[str, list[str]]:
    """A query for the ids of the documents that pass, and its parameters."""
    conditions, values = ["1"], []
    for name, value in where.metadata.items():
        # As quotes within names and values are escaped, no other place of the JSON text can hold this.
        conditions.append("instr(metadata, ?) > 0")
        values.append(metadata_text({name: value})[1:-1])
    if where.path:
        conditions.append("path GLOB ?")
        values.append(_glob(unicodedata.normalize("NFC", where.path)))
    return f"SELECT id FROM documents WHERE {' AND '.join(conditions)}", values


def _glob(pattern: str) -> str:
    """A pattern of the shell as SQLite reads it: `[!a]` is `[^a]` there; a `[` that nothing closes matches nothing."""
    parts, at = [], 0
    while at < len(pattern):
        if pattern[at] != "[":
            parts.append(pattern[at])
            at += 1
            continue
        negated = pattern[at + 1 : at + 2] in ("!", "^")
        end = pattern.find("]", at + 2 + negated)  # a "]" that comes first is one of the set
        if end < 0:
            parts.append("[[]")
            at += 1
        else:
            parts.append(f"[{'^' if negated else ''}{pattern[at + 1 + negated : end]}]")
            at = end + 1
    return "".join(parts)
