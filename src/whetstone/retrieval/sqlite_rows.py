"""Documents and chunks as rows of SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from whetstone.retrieval.document import Chunk, DocumentRecord, StoredChunk
from whetstone.retrieval.sqlite_filter import metadata_text

RECORD = "path, size, modified, digest, title, metadata, chunks, problem"
CHUNK = 'ordinal, headings, text, start, "end", place, header'
_STORED = f"SELECT c.id, d.path, d.title, d.metadata, {CHUNK} FROM chunks c JOIN documents d ON d.id = c.document"


def record_row(record: DocumentRecord) -> tuple[Any, ...]:
    """The columns `RECORD`."""
    return (
        record.path,
        record.size,
        record.modified,
        record.digest,
        record.title,
        metadata_text(record.metadata),
        record.chunks,
        record.problem,
    )


def record_of(row: Sequence[Any]) -> DocumentRecord:
    """A document from the columns `RECORD`."""
    path, size, modified, digest, title, metadata, chunks, problem = row
    return DocumentRecord(path, size, modified, digest, title, json.loads(metadata), chunks, problem)


def chunk_row(chunk: Chunk) -> tuple[Any, ...]:
    """The columns `CHUNK`."""
    headings = json.dumps(chunk.headings, ensure_ascii=False, separators=(",", ":"))
    return (chunk.ordinal, headings, chunk.text, chunk.start, chunk.end, chunk.place, chunk.header)


def chunk_of(row: Sequence[Any]) -> Chunk:
    """A chunk from the columns `CHUNK`."""
    ordinal, headings, text, start, end, place, header = row
    return Chunk(ordinal, tuple(json.loads(headings)), text, start, end, place, header)


def stored_chunks(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> Iterator[StoredChunk]:
    """Chunks with what is known of their documents; `condition` is what follows the joined tables c and d."""
    for id_, path, title, metadata, *columns in connection.execute(f"{_STORED} {condition}", values):
        yield StoredChunk(id_, path, title, json.loads(metadata), chunk_of(columns))
