"""Citations in OpenAI's wire form: the annotations of an answer's message.

OpenAI knows one kind there, `url_citation`. The address is one of ours, `kb:NAME/PATH#char=START,END` (the fragment is
RFC 5147's), and beside it stands the whole passage, which other clients pass over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from whetstone.types import Citation


def annotations_of(citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """One for each part of the answer that refers to a passage; `start_index` and `end_index` cut it out as a slice."""
    return [_annotation(citation, *span) for citation in citations for span in citation.spans or ((0, 0),)]


def _annotation(citation: Citation, start: int, end: int) -> dict[str, Any]:
    address = f"kb:{quote(citation.base)}/{quote(citation.path)}#char={citation.start},{citation.end}"
    return {
        "type": "url_citation",
        "url_citation": {"start_index": start, "end_index": end, "title": citation.where, "url": address},
        "passage": {
            "number": citation.number,
            "attributed": citation.attributed,
            "knowledge_base": citation.base,
            "path": citation.path,
            "place": citation.place,
            "trail": citation.trail,
            "start": citation.start,
            "end": citation.end,
            "text": citation.text,
        },
    }
