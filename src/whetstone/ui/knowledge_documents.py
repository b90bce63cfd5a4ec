"""What a knowledge base holds, as HTML: its documents, and the chunks of one. Every text of a document is escaped."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from whetstone.registry import unknown_name
from whetstone.retrieval.document import DocumentRecord, StoredChunk
from whetstone.retrieval.sources import whereabouts
from whetstone.retrieval.store import Store
from whetstone.types import Citation

SHOWN = 100  # documents at once
WINDOW = 30  # chunks at once
_BEFORE = 6  # of them in front of a passage


@dataclass(frozen=True, slots=True)
class Place:
    """A passage of a document: from `start` to `end` in characters of its text."""

    path: str
    start: int
    end: int


def documents_html(
    manifest: Mapping[str, DocumentRecord], query: str, shown: int, folder: Path, *, removable: bool
) -> str:
    """The documents as a table; clicking a title shows the chunks.

    Args:
        query: words that must stand in path, title or problem.
        shown: how many at most.
        folder: in which they are, for the time of those that changed a moment before they were read.
        removable: whether there is a button that deletes the file.
    """
    words = query.casefold().split()
    found = [
        record
        for record in manifest.values()
        if all(word in f"{record.path}\n{record.title}\n{record.problem}".casefold() for word in words)
    ]
    if not found:
        return f'<p class="wh-note">{"No document fits." if words else "There are no documents yet."}</p>'
    rows = "".join(_row(record, folder, removable) for record in found[:shown])
    more = (
        f'<p><button type="button" class="wh-button wh-strong" data-more="{shown + SHOWN}">Show more of '
        f"{len(found):,}</button></p>"
        if len(found) > shown
        else ""
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Title", "Path", "Chunks", "Last changed", "Problem"))
    last = '<th scope="col"><span class="wh-kb-hidden">Remove</span></th>' if removable else ""
    return (
        f'<p class="wh-note">{len(found):,} of {len(manifest):,} documents</p>'
        f'<table class="wh-kb-table"><thead><tr>{head}{last}</tr></thead><tbody>{rows}</tbody></table>{more}'
    )


def _row(record: DocumentRecord, folder: Path, removable: bool) -> str:
    path, title = escape(record.path), escape(record.title or record.path)
    name = f'<button type="button" class="wh-kb-open" data-path="{path}">{title}</button>' if record.chunks else title
    remove = (
        f'<td><button type="button" class="wh-button" data-remove="{path}" aria-label="Remove {path}">Remove</button>'
        "</td>"
        if removable
        else ""
    )
    problem = f'<span class="wh-kb-bad">{escape(record.problem)}</span>' if record.problem else ""
    return (
        f'<tr><th scope="row" data-name="Title">{name}</th><td data-name="Path">{path}</td>'
        f'<td data-name="Chunks" class="wh-kb-number">{record.chunks:,}</td>'
        f'<td data-name="Last changed">{when(_changed(record, folder))}</td>'
        f'<td data-name="Problem">{problem}</td>{remove}</tr>'
    )


def _changed(record: DocumentRecord, folder: Path) -> float:
    """When the file changed, in seconds since 1970; 0 if it is gone."""
    if record.modified:
        return record.modified / 1e9
    try:  # the manifest does not trust a time so near to the sync
        return (folder / record.path).stat().st_mtime
    except (OSError, ValueError):
        return 0.0


def when(seconds: float) -> str:
    """A time as HTML; the page writes it as its reader is used to."""
    return f'<time data-when="{seconds:.0f}">–</time>' if seconds else "–"


def kinds_of(manifest: Mapping[str, DocumentRecord]) -> dict[str, list[str]]:
    """What filters can offer: types and folders that there are, sorted."""
    return {
        name: sorted({record.metadata.get(name, "") for record in manifest.values()} - {""})
        for name in ("type", "folder")
    }


def passage_of_source(store: Store, source: str) -> Place:
    """The passage that a line of an answer's list of sources means: the first one of that document and heading.

    Raises:
        UnknownNameError: there is no such document any more.
    """
    manifest = store.manifest()
    fitting = [path for path in manifest if source == (name := whereabouts(path)) or source.startswith(f"{name}, ")]
    if not fitting:
        raise unknown_name("document", source, manifest)
    path = max(fitting, key=len)
    chunks = [stored for stored in store.chunks_of(path) if whereabouts(_where(stored)) == source]
    if not chunks:
        return Place(path, 0, 0)
    together = list(itertools.takewhile(lambda pair: pair[1].chunk.ordinal == chunks[0].chunk.ordinal + pair[0],
                                        enumerate(chunks)))  # fmt: skip
    return Place(path, chunks[0].chunk.start, together[-1][1].chunk.end)


def _where(stored: StoredChunk) -> str:
    chunk = stored.chunk
    return Citation(
        0, "", stored.path, stored.title, chunk.trail, chunk.place, chunk.start, chunk.end, chunk.text
    ).where


def document_html(store: Store, place: Place, first: int | None) -> str:
    """A document's chunks, a passage marked among its neighbours.

    Args:
        place: the document and the passage; of no length for the document alone.
        first: ordinal of the chunk to begin with; None for what shows the passage.

    Raises:
        UnknownNameError: there is no such document.
    """
    manifest = store.manifest()
    if place.path not in manifest:
        raise unknown_name("document", place.path, manifest)
    record = manifest[place.path]
    if first is None:
        first = max(0, _first_of(store, place) - _BEFORE)
    chunks = list(itertools.islice(store.chunks_of(place.path), first, first + WINDOW))
    facts = [escape(record.path), f"{record.chunks:,} chunk{'s' if record.chunks != 1 else ''}"]
    facts += [f"{escape(name)}: {escape(value)}" for name, value in sorted(record.metadata.items()) if value]
    problem = f'<p class="wh-error" role="status">{escape(record.problem)}</p>' if record.problem else ""
    return (
        f'<h3 tabindex="-1" data-focus>{escape(record.title or record.path)}</h3>'
        f'<p class="wh-note">{" · ".join(facts)}</p>{problem}'
        f"{_step('Earlier chunks', record, max(0, first - WINDOW)) if first else ''}"
        f"{_chunks(chunks, place)}"
        f"{_step('Later chunks', record, first + WINDOW) if first + WINDOW < record.chunks else ''}"
    )


def _first_of(store: Store, place: Place) -> int:
    """Ordinal of the first chunk of a passage."""
    if place.end <= place.start:
        return 0
    overlapping = (
        stored.chunk.ordinal
        for stored in store.chunks_of(place.path)
        if stored.chunk.start < place.end and stored.chunk.end > place.start
    )
    return next(overlapping, 0)


def _step(words: str, record: DocumentRecord, first: int) -> str:
    return (
        f'<p><button type="button" class="wh-button wh-strong" data-path="{escape(record.path)}" '
        f'data-first="{first}">{words}</button></p>'
    )


def _chunks(chunks: Sequence[StoredChunk], place: Place) -> str:
    return f'<ol class="wh-kb-chunks">{"".join(_chunk(stored, place) for stored in chunks)}</ol>'


def _chunk(stored: StoredChunk, place: Place) -> str:
    chunk = stored.chunk
    start, end = max(0, place.start - chunk.start), min(len(chunk.text), place.end - chunk.start)
    marked = start < end
    text = chunk.text
    body = (
        f"{escape(text[:start])}<mark>{escape(text[start:end])}</mark>{escape(text[end:])}" if marked else escape(text)
    )
    where = " · ".join(escape(part) for part in (chunk.trail, chunk.place) if part)
    header = f"<pre>{escape(chunk.header)}</pre>" if chunk.header else ""
    on = ' class="wh-kb-cited" aria-label="The passage"' if marked else ""
    return (
        f'<li{on}><p class="wh-kb-trail"><b>{chunk.ordinal + 1}</b> {where} '
        f"<span>characters {chunk.start:,} to {chunk.end:,}</span></p>{header}<pre>{body}</pre></li>"
    )
