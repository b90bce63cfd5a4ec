"""Links from an answer to the passages that it cites. `knowledge_open.js` follows them, on any page with that tab."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import urlencode

from whetstone.models.knowledge_spec import KNOWLEDGE, knowledge_name
from whetstone.models.spec import parse_spec
from whetstone.retrieval import sources
from whetstone.types import Citation, Turn, text_of
from whetstone.ui.markdown import to_html

_MARKER = re.compile(r"\[(\d{1,4})\]")
_TAG = re.compile(r"(<[^>]*>)")  # `to_html` escapes what is no tag
_VERBATIM = re.compile(r"</?(?:code|pre|a)\b")


def passage_link(base: str, words: str, *, title: str = "", **place: object) -> str:
    """A link, as HTML, that opens a passage in its document. It also works as an address of its own.

    Args:
        base: the knowledge base.
        words: what is written on it.
        title: read out in their place.
        place: path, start and end of the passage; or source, a line of an answer's list of sources.
    """
    address = urlencode({"kb": base, **place}, errors="replace")
    data = "".join(f' data-{name}="{escape(str(value))}"' for name, value in {"kb": base, **place}.items())
    named = f' title="{escape(title)}" aria-label="{escape(title)}"' if title else ""
    return f'<a class="wh-cite" href="?{escape(address)}" data-open-passage{data}{named}>{escape(words)}</a>'


def cited_html(answer: str, base: str, citations: Sequence[Citation]) -> str:
    """An answer from documents as HTML, its markers and its list of sources as links."""
    places = {one.number: (one.where, {"path": one.path, "start": one.start, "end": one.end}) for one in citations}
    attributed = bool(citations) and all(one.attributed for one in citations)
    return _html(answer, base, places, attributed)


def answer_html(turn: Turn) -> str:
    """The answer of a chat as HTML; if it comes from a knowledge base, with links like `cited_html`."""
    text = text_of(turn.message)
    spec = turn.origin.model.spec if turn.origin else ""
    listed = sources.listed_sources(text) if spec.startswith(f"{KNOWLEDGE}:") else []
    if not listed:
        return to_html(text)
    places: dict[int, _Place] = {number: (name, {"source": name}) for number, name in listed}
    return _html(text, knowledge_name(parse_spec(spec)), places, sources.ATTRIBUTED in text)


_Place = tuple[str, Mapping[str, object]]


def _html(answer: str, base: str, places: Mapping[int, _Place], attributed: bool) -> str:
    if not places:
        return to_html(answer)
    body = _with_links(to_html(sources.without_list(answer)), base, places)
    listed = "".join(
        f"<li>{passage_link(base, f'[{number}]', title=f'Open passage {number}', **place)} {escape(where)}</li>"
        for number, (where, place) in places.items()
    )
    head = sources.ATTRIBUTED if attributed else sources.CITED
    return f'{body}<p class="wh-note">{escape(head)}</p><ul class="wh-sources">{listed}</ul>'


def _with_links(html: str, base: str, places: Mapping[int, _Place]) -> str:
    """HTML with a link for each marker that stands in its text, outside of code."""

    def link(match: re.Match[str]) -> str:
        number = int(match[1])
        if number not in places:
            return match[0]
        where, place = places[number]
        return passage_link(base, match[0], title=f"Passage {number}: {where}", **place)

    parts, verbatim = [], 0
    for part in _TAG.split(html):
        if part.startswith("<") and part.endswith(">"):
            if _VERBATIM.match(part):
                verbatim += -1 if part.startswith("</") else 1
            parts.append(part)
        else:
            parts.append(part if verbatim else _MARKER.sub(link, part))
    return "".join(parts)
