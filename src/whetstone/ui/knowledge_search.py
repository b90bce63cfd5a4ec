"""Passages that were found as HTML, with the parts behind each score."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from whetstone.errors import UsageError
from whetstone.retrieval.document import Filter
from whetstone.retrieval.fusion import WEIGHTS
from whetstone.retrieval.search import Hit
from whetstone.ui.asked import Asked
from whetstone.ui.knowledge_cites import passage_link

MOST = 50  # passages

EXPLAINED = (
    "<details><summary>What the scores mean</summary><p>Dense is the cosine of question and passage: nearness in "
    "meaning. BM25 counts the question's words in the passage, rare ones more; its bar is a share of the highest one "
    "here. Coverage is the share of the question's terms, weighed by rarity, that stand in the passage. A hybrid score "
    f"is their weighted mean ({WEIGHTS.dense:g}, {WEIGHTS.keyword:g} and {WEIGHTS.coverage:g}), after dense and BM25 "
    "were brought to 0 to 1 among the candidates. The parts are those of the passage's best chunk.</p></details>"
)


def filter_of(asked: Asked) -> Filter:
    """The filter that a page's fields make.

    Raises:
        UsageError: a further condition is not NAME=VALUE.
    """
    metadata = {name: value for name in ("type", "folder") if (value := str(asked.get(name, "")))}
    for condition in filter(None, (part.strip() for part in str(asked.get("where", "")).split(","))):
        name, equals, value = (part.strip() for part in condition.partition("="))
        if not equals or not name:
            raise UsageError(f"{condition}: write NAME=VALUE, as in author=Kim; several with commas between them")
        if metadata.get(name, value) != value:
            raise UsageError(f"{name} cannot be {metadata[name]} and {value} at once")
        metadata[name] = value
    return Filter(metadata, str(asked.get("pattern", "")).strip())


def wanted(value: Any, default: int = 10) -> int:
    """How many passages a page asks for.

    Raises:
        UsageError: it is no number, or too large.
    """
    text = str(value if value is not None else default).strip()
    if not text.isdecimal() or not 1 <= int(text[:6]) <= MOST:
        raise UsageError(f"{text[:20] or 'nothing'}: choose from 1 to {MOST} passages")
    return int(text)


def hits_html(base: str, hits: Sequence[Hit], seconds: float, *, narrowed: bool) -> str:
    """What was found, best first.

    Args:
        base: the knowledge base.
        seconds: that the search took.
        narrowed: only some documents were searched.
    """
    if not hits:
        words = "Nothing was found among the documents that were asked for." if narrowed else "Nothing was found."
        return f'<p class="wh-note" role="status">{words}</p>'
    highest = max(hit.keyword for hit in hits) or 1.0
    items = "".join(_hit(base, hit, highest) for hit in hits)
    count = f"{len(hits)} passage{'s' if len(hits) != 1 else ''} in {1000 * seconds:.0f} ms"
    return f'<p class="wh-note" role="status">{count}</p><ol class="wh-kb-hits">{items}</ol>{EXPLAINED}'


def _hit(base: str, hit: Hit, highest: float) -> str:
    chunks = hit.chunks
    first, last = chunks[0].chunk, chunks[-1].chunk
    link = passage_link(base, hit.chunk.title or hit.chunk.path, path=hit.chunk.path, start=first.start, end=last.end)
    where = " · ".join(escape(part) for part in (hit.chunk.path, " > ".join(first.headings[1:]), first.place) if part)
    terms = f'<p class="wh-note">terms found: {escape(", ".join(hit.matched))}</p>' if hit.matched else ""
    bars = (
        _bar("score", hit.score, f"{hit.score:.3f}")
        + _bar("dense", hit.dense, f"{hit.dense:.3f}")
        + _bar("BM25", hit.keyword / highest, f"{hit.keyword:.2f}" if not 0 < hit.keyword < 0.01 else "under 0.01")
        + _bar("coverage", hit.coverage, f"{hit.coverage:.0%}")
    )
    return (
        f'<li><h4>{link}</h4><p class="wh-note">{where}</p><dl class="wh-kb-bars">{bars}</dl>{terms}'
        f"<pre>{escape(hit.shown)}</pre></li>"
    )


def _bar(name: str, share: float, value: str) -> str:
    wide = 100 * min(1.0, max(0.0, share))
    return (
        f'<div data-part="{name}"><dt>{name}</dt><dd><span class="wh-kb-bar"><i style="width:{wide:.0f}%"></i></span>'
        f"{value}</dd></div>"
    )
