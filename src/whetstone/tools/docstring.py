"""What a docstring in Google's style says: of the function, and of each argument."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns|Return|Yields|Raises|Examples?|Notes?|Attributes):")
_ARGUMENTS = {"Args", "Arguments", "Parameters"}
_FOR_CALLERS = {"Returns", "Return", "Yields", "Raises"}  # tell the model something about results too, so they stay
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")


def read_docstring(docstring: str | None) -> tuple[str, dict[str, str]]:
    """What a docstring says, without its section on arguments, and what that section says of each of them.

    Sections on results are kept in the description: they tell a model what it gets. Examples and notes are left out.
    """
    described: list[str] = []
    arguments: dict[str, str] = {}
    section = ""
    name = ""
    indent: int | None = None  # of the entries of the section on arguments
    for line in inspect.cleandoc(docstring or "").splitlines():
        heading = _SECTION.fullmatch(line.strip()) if not line.startswith(" ") else None
        if heading is not None:
            section, name, indent = heading[1], "", None
            if section in _FOR_CALLERS:
                described.append(line)
        elif section in _ARGUMENTS:
            if not line.strip():
                continue
            depth = len(line) - len(line.lstrip())
            indent = depth if indent is None else indent
            entry = _ENTRY.fullmatch(line.strip()) if depth <= indent else None
            if entry is not None:
                name, arguments[entry[1]] = entry[1], entry[2].strip()
            elif name:
                arguments[name] = f"{arguments[name]} {line.strip()}".strip()
        elif not section or section in _FOR_CALLERS:
            described.append(line)
    return "\n".join(described).strip(), arguments
