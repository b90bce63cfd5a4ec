"""The list of sources below an answer, as text: what every front end and every API can show."""

from __future__ import annotations

import re
from collections.abc import Sequence

from whetstone.tokens.quoting import visible
from whetstone.types import Citation

CITED = "Sources:"
ATTRIBUTED = "Sources matched by wording (the model cited none):"
UNSUPPORTED = "No passage was cited, and none matches this answer's wording: check it."

_LIST = re.compile(
    rf"\n\n(?:(?:{re.escape(CITED)}|{re.escape(ATTRIBUTED)})(?:\n- \[\d+\] [^\n]*)+|{re.escape(UNSUPPORTED)})\s*\Z"
)
_LINE = re.compile(r"^- \[(\d+)\] ([^\n]*?)\s*$", re.MULTILINE)
_MARKER = re.compile(r"[ \t]*\[\d{1,4}\]")
_ACTIVE = re.compile(r"[*_`\[\]<>\\!|~&]")  # what Markdown would read in a file's name


def sources_text(citations: Sequence[Citation]) -> str:
    """What follows an answer: an empty line and a list of its citations, each `- [1] path, place`."""
    if not citations:
        return f"\n\n{UNSUPPORTED}"
    head = ATTRIBUTED if all(citation.attributed for citation in citations) else CITED
    lines = [f"- [{citation.number}] {_inert(citation.where)}" for citation in citations]
    return "\n\n" + "\n".join([head, *lines])


def without_list(answer: str) -> str:
    """An answer without the list of its sources."""
    return _LIST.sub("", answer)


def listed_sources(answer: str) -> list[tuple[int, str]]:
    """Number and name of each source in the list below an answer, as `whereabouts` gives the name."""
    found = _LIST.search(answer)
    lines = _LINE.findall(found[0]) if found else []
    return [(int(number), name[1:-1] if name.startswith("`") else name) for number, name in lines]


def whereabouts(where: str) -> str:
    """`Citation.where`, or a path, as the list of sources has it."""
    return " ".join(visible(where).split()).replace("`", "ʼ")


def without_sources(answer: str) -> str:
    """An earlier answer without its list of sources and its markers, whose numbers mean nothing to another request."""
    return _MARKER.sub("", without_list(answer))


def _inert(name: str) -> str:
    """A name on one line, in backticks where Markdown would read something in it."""
    line = " ".join(visible(name).split())
    return f"`{whereabouts(name)}`" if _ACTIVE.search(line) else line
