"""A filter in PostgreSQL's words."""

from __future__ import annotations

import re
import unicodedata

from whetstone.retrieval.document import Filter
from whetstone.retrieval.postgres_base import Base, Cursor
from whetstone.retrieval.sqlite_filter import metadata_text
from whetstone.storage.columns import escaped

_ANY = r"(?:\U0000001a.{4}|.)"  # one character, as `escaped` wrote it


def documents_that_pass(cursor: Cursor, base: Base, where: Filter) -> tuple[list[int], int]:
    """The ids of the documents that pass, and how many chunks they have."""
    conditions, values = ["true"], []
    for name, value in where.metadata.items():
        # As quotes within names and values are escaped, no other place of the JSON text can hold this.
        conditions.append("strpos(metadata, %s) > 0")
        values.append(escaped(metadata_text({name: value})[1:-1]))
    if where.path:
        conditions.append('path COLLATE "C" ~ %s')
        values.append(path_pattern(escaped(unicodedata.normalize("NFC", where.path))))
    rows = cursor.execute(
        f"SELECT id, chunks FROM {base.schema}.documents WHERE {' AND '.join(conditions)}", values
    ).fetchall()
    return [id_ for id_, _ in rows], sum(chunks for _, chunks in rows)


def path_pattern(pattern: str) -> str:
    """A pattern of the shell as a regular expression of PostgreSQL. A `[` that nothing closes stands for itself."""
    parts, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(_ANY)
        elif character == "[":
            negated = pattern[at : at + 1] in ("!", "^")
            end = pattern.find("]", at + 1 + negated)  # a "]" that comes first is one of the set
            if end < 0:
                parts.append(_literal(character))
            else:
                parts.append(_set(pattern[at + negated : end], negated))
                at = end + 1
        else:
            parts.append(_literal(character))
    return f"^{''.join(parts)}$"


def _set(members: str, negated: bool) -> str:
    spans = re.findall(r"(.)-(.)|(.)", members, re.DOTALL)
    # A range that ends before it begins holds nothing; PostgreSQL would refuse it.
    kept = [_literal(one) if one else f"{_literal(a)}-{_literal(b)}" for a, b, one in spans if one or a <= b]
    if not kept:
        return _ANY if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(kept)}]"


def _literal(character: str) -> str:
    return character if character.isalnum() and character.isascii() else f"\\U{ord(character):08x}"
