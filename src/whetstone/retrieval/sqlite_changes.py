"""What a sync writes to the SQLite file. Each function runs within one transaction of its caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.errors import StorageError
from whetstone.retrieval import sqlite_codes
from whetstone.retrieval.document import Chunk, DocumentRecord
from whetstone.retrieval.sqlite_keyword import forget_chunks, index_chunks
from whetstone.retrieval.sqlite_rows import CHUNK, RECORD, chunk_of, chunk_row, record_row
from whetstone.retrieval.store import Change

_SET_RECORD = ", ".join(f"{column} = ?" for column in RECORD.split(", "))
_BETWEEN = "\0"  # stands before a path that a document will have, while another may still have it


def apply_change(connection: sqlite3.Connection, change: Change) -> None:
    """Do what a change says.

    Raises:
        StorageError: a chunk has no vector, or a document that should be there is not.
    """
    for path in change.removed:
        document = _document(connection, path)
        _remove_chunks(connection, _rows(connection, document))
        connection.execute("DELETE FROM documents WHERE id = ?", (document,))
    renamed = change.renamed or {}
    moved = [(_BETWEEN + new, _document(connection, old)) for new, old in renamed.items()]
    connection.executemany("UPDATE documents SET path = ? WHERE id = ?", moved)
    connection.executemany("UPDATE documents SET path = ? WHERE path = ?", ((new, _BETWEEN + new) for new in renamed))
    for record in change.touched:
        values = (*record_row(record), _document(connection, record.path))
        connection.execute(f"UPDATE documents SET {_SET_RECORD} WHERE id = ?", values)
    for record, chunks in change.written:
        _write(connection, record, chunks)
    _drop_vectors(connection)


def insert_vectors(
    connection: sqlite3.Connection, embedding: int, hashes: Sequence[bytes], vectors: npt.NDArray[np.float32]
) -> None:
    """Keep vectors that are not kept yet, and their codes."""
    ids, rows = [], []
    for number, hash_ in enumerate(hashes):
        row = connection.execute(
            "INSERT OR IGNORE INTO vectors (hash, embedding, vector) VALUES (?, ?, ?) RETURNING id",
            (hash_, embedding, vectors[number].astype("<f4").tobytes()),
        ).fetchone()
        if row:
            ids.append(row[0])
            rows.append(number)
    sqlite_codes.pack(connection, ids, vectors[rows])


def swap_vectors(connection: sqlite3.Connection, embedding: int) -> None:
    """Let every chunk have its vector of another embedding, and drop all others.

    Raises:
        StorageError: it has none.
    """
    connection.execute(
        "UPDATE chunks SET vector = coalesce((SELECT new.id FROM vectors old JOIN vectors new ON new.hash = old.hash"
        " AND new.embedding = ? WHERE old.id = chunks.vector), 0)",
        (embedding,),
    )
    missing = connection.execute("SELECT count(*) FROM chunks WHERE vector = 0").fetchone()[0]
    if missing:
        raise StorageError(f"{missing} chunks have no new vector; the old vectors are kept")
    _drop_vectors(connection)


def clear(connection: sqlite3.Connection) -> None:
    """Remove everything but the numbers that were given out."""
    for table in ("header", "documents", "chunks", "vectors", "packs", "dropped_codes"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("INSERT INTO keyword (keyword) VALUES ('delete-all')")


def _document(connection: sqlite3.Connection, path: str) -> int:
    row = connection.execute("SELECT id FROM documents WHERE path = ?", (path,)).fetchone()
    if row is None:
        raise StorageError(f"The knowledge base has no document {path} to change: run `whet kb sync` again")
    return int(row[0])


def _write(connection: sqlite3.Connection, record: DocumentRecord, chunks: Iterable[Chunk]) -> None:
    row = connection.execute("SELECT id FROM documents WHERE path = ?", (record.path,)).fetchone()
    if row is None:
        marks = ", ".join("?" * len(record_row(record)))
        document = connection.execute(
            f"INSERT INTO documents ({RECORD}) VALUES ({marks})", record_row(record)
        ).lastrowid
        old = {}
    else:
        (document,) = row
        connection.execute(f"UPDATE documents SET {_SET_RECORD} WHERE id = ?", (*record_row(record), document))
        old = {columns[0]: (id_, columns) for id_, columns in _rows(connection, document)}
    added: list[tuple[int, Chunk]] = []
    replaced = []
    for chunk in chunks:
        columns = chunk_row(chunk)
        before = old.pop(chunk.ordinal, None)
        if before is not None and before[1] == columns:
            continue
        if before is not None:
            replaced.append(before)
        added.append((_insert(connection, document, chunk, columns, record.path), chunk))
        if len(added) >= 1000:
            index_chunks(connection, added)
            added.clear()
    _remove_chunks(connection, [*replaced, *old.values()])
    index_chunks(connection, added)


def _insert(connection: sqlite3.Connection, document: Any, chunk: Chunk, columns: tuple[Any, ...], path: str) -> int:
    marks = ", ".join("?" * len(columns))
    row = connection.execute(
        f"INSERT INTO chunks (document, vector, {CHUNK}) SELECT ?, v.id, {marks} FROM vectors v, header h"
        " WHERE v.hash = ? AND v.embedding = h.embedding RETURNING id",
        (document, *columns, chunk.hash),
    ).fetchone()
    if row is None:
        raise StorageError(f"{path}: chunk {chunk.ordinal} has no vector; nothing was changed")
    return int(row[0])


def _rows(connection: sqlite3.Connection, document: int) -> list[tuple[int, tuple[Any, ...]]]:
    found = connection.execute(f"SELECT id, {CHUNK} FROM chunks WHERE document = ? ORDER BY ordinal", (document,))
    return [(id_, tuple(columns)) for id_, *columns in found]


def _remove_chunks(connection: sqlite3.Connection, rows: Collection[tuple[int, tuple[Any, ...]]]) -> None:
    forget_chunks(connection, ((id_, chunk_of(columns)) for id_, columns in rows))
    connection.executemany("DELETE FROM chunks WHERE id = ?", ((id_,) for id_, _ in rows))


def _drop_vectors(connection: sqlite3.Connection) -> None:
    """Drop the vectors that no chunk has; all others are found from now on."""
    all_ids = "SELECT id FROM vectors INDEXED BY sqlite_autoindex_vectors_1"  # not by the table, which is large
    ids = [id_ for (id_,) in connection.execute(f"{all_ids} EXCEPT SELECT vector FROM chunks")]
    connection.executemany("DELETE FROM vectors WHERE id = ?", ((id_,) for id_ in ids))
    sqlite_codes.drop(connection, ids)
    connection.execute("UPDATE header SET last_vector = (SELECT coalesce(max(id), 0) FROM vectors)")
