"""Regular expressions in the words that grammars of engines know."""

from __future__ import annotations

import re

# Escapes of regular expressions as character classes, which grammars know.
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_"}
_ESCAPES = re.compile(r"\\(.)|\[\^?|\]", re.DOTALL)
_LOOKS_LIKE_GROUP = re.compile(r"\(\?(?!:)")
_LITERAL = set('.()[]{}*+?|^$-"\\')


def grammar_pattern(pattern: str) -> str | None:
    """A pattern in the words that grammars know, or None."""
    if not (pattern.startswith("^") and pattern.endswith("$")) or _LOOKS_LIKE_GROUP.search(pattern):
        return None
    inside = False
    unknown = False

    def translate(found: re.Match[str]) -> str:
        nonlocal inside, unknown
        if found[1] is None:
            inside = found[0] != "]"
            return found[0]
        if found[1] in _CLASSES:
            return _CLASSES[found[1]] if inside else f"[{_CLASSES[found[1]]}]"
        if found[1] == "/":
            return "/"
        unknown = unknown or found[1] not in _LITERAL
        return found[0]

    translated = _ESCAPES.sub(translate, pattern)
    return None if unknown else translated
