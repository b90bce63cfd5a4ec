"""Documents and chunks as rows of PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from whetstone.retrieval.document import Chunk, DocumentRecord, StoredChunk
from whetstone.retrieval.postgres_base import Cursor
from whetstone.retrieval.sqlite_filter import metadata_text
from whetstone.storage.columns import escaped, unescaped

RECORD = "path, size, modified, digest, title, metadata, chunks, problem"
CHUNK = 'c.ordinal, c.headings, c.text, c.start, c."end", c.place, c.header'


def record_row(record: DocumentRecord) -> tuple[Any, ...]:
    """The columns `RECORD`."""
    return (
        escaped(record.path),
        record.size,
        record.modified,
        record.digest,
        escaped(record.title),
        escaped(metadata_text(record.metadata)),
        record.chunks,
        escaped(record.problem),
    )


def record_of(row: Sequence[Any]) -> DocumentRecord:
    """A document from the columns `RECORD`."""
    path, size, modified, digest, title, metadata, chunks, problem = row
    return DocumentRecord(
        unescaped(path), size, modified, digest, unescaped(title), metadata_of(metadata), chunks, unescaped(problem)
    )


def metadata_of(text: str) -> dict[str, str]:
    """Metadata from the column of that name."""
    return dict(json.loads(unescaped(text)))


def headings_text(chunk: Chunk) -> str:
    """The column "headings"."""
    return escaped(json.dumps(chunk.headings, ensure_ascii=False, separators=(",", ":")))


def chunk_of(row: Sequence[Any]) -> Chunk:
    """A chunk from the columns `CHUNK`."""
    ordinal, headings, text, start, end, place, header = row
    return Chunk(
        ordinal,
        tuple(json.loads(unescaped(headings))),
        unescaped(text),
        start,
        end,
        unescaped(place),
        unescaped(header),
    )


def stored_chunks(cursor: Cursor, schema: str, condition: str, values: Sequence[Any]) -> Iterator[StoredChunk]:
    """Chunks with what is known of their documents; `condition` is what follows the joined tables c and d."""
    rows = cursor.execute(
        f"SELECT c.id, d.path, d.title, d.metadata, {CHUNK} FROM {schema}.chunks c"
        f" JOIN {schema}.documents d ON d.id = c.document {condition}",
        values,
    )
    for id_, path, title, metadata, *columns in rows:
        yield StoredChunk(id_, unescaped(path), unescaped(title), metadata_of(metadata), chunk_of(columns))
