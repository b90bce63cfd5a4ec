"""What a sync writes to PostgreSQL, within one transaction of its caller; thousands of chunks at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from whetstone.errors import StorageError
from whetstone.retrieval.document import Chunk, DocumentRecord
from whetstone.retrieval.postgres_base import Base, Cursor
from whetstone.retrieval.postgres_keyword import Writer, array_text
from whetstone.retrieval.postgres_rows import headings_text, record_row
from whetstone.retrieval.postgres_vectors import kept
from whetstone.retrieval.store import Change
from whetstone.storage.columns import escaped

_DOCUMENTS_AT_ONCE = 500
_CHUNKS_AT_ONCE = 2000
_BETWEEN = "\x1a"  # stands before a path that a document will have, while another may still have it
_TYPES = "%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[]"
_RECORD = ("path", "size", "modified", "digest", "title", "metadata", "chunks", "problem")

_Old = dict[int, tuple[int, tuple[Any, ...], list[int]]]  # ordinal -> id, what must be the same, terms


def apply_change(cursor: Cursor, base: Base, change: Change) -> None:
    """Do what a change says.

    Raises:
        StorageError: a chunk has no vector, or a document that should be there is not.
    """
    _Changing(cursor, base).do(change)


class _Changing:
    def __init__(self, cursor: Cursor, base: Base) -> None:
        self._cursor = cursor
        self._base = base
        self._schema = base.schema
        self._index = Writer(cursor, base)
        self._ids: dict[str, int] = {}  # of the documents that are being written
        self._old: dict[str, _Old] = {}  # their chunks that were there before, and have not come again
        self._forgotten: set[bytes] = set()  # hashes that a chunk had

    def do(self, change: Change) -> None:
        self._remove(change.removed)
        self._rename(change.renamed or {})
        self._touch(change.touched)
        self._write(change)
        self._index.finish()
        self._drop_vectors()

    def _remove(self, paths: Collection[str]) -> None:
        ids = self._known(paths)
        self._remove_chunks("document = ANY(%s)", list(ids.values()))
        self._cursor.execute(f"DELETE FROM {self._schema}.documents WHERE id = ANY(%s)", (list(ids.values()),))

    def _rename(self, renamed: Mapping[str, str]) -> None:
        ids = self._known(renamed.values())
        self._cursor.execute(
            f"UPDATE {self._schema}.documents d SET path = n.path"
            " FROM unnest(%s::bigint[], %s::text[]) AS n (id, path) WHERE d.id = n.id",
            ([ids[old] for old in renamed.values()], [_BETWEEN + escaped(new) for new in renamed]),
        )
        self._cursor.execute(
            f"UPDATE {self._schema}.documents SET path = substr(path, 2) WHERE path = ANY(%s)",
            ([_BETWEEN + escaped(new) for new in renamed],),
        )

    def _touch(self, records: Collection[DocumentRecord]) -> None:
        self._known([record.path for record in records])
        columns = ", ".join(f"{column} = n.{column}" for column in _RECORD)
        self._cursor.execute(
            f"UPDATE {self._schema}.documents d SET {columns} FROM unnest({_TYPES}) AS n ({', '.join(_RECORD)})"
            " WHERE d.path = n.path",
            _by_column(records),
        )

    def _write(self, change: Change) -> None:
        records: list[DocumentRecord] = []
        chunks: list[tuple[str, Chunk]] = []
        for record, its_chunks in change.written:
            records.append(record)
            for chunk in its_chunks:
                chunks.append((record.path, chunk))
                if len(chunks) >= _CHUNKS_AT_ONCE:
                    self._write_batch(records, chunks, unfinished=record.path)
                    records, chunks = [], []
            if len(records) >= _DOCUMENTS_AT_ONCE:
                self._write_batch(records, chunks)
                records, chunks = [], []
        self._write_batch(records, chunks)

    def _write_batch(
        self, records: Sequence[DocumentRecord], chunks: Sequence[tuple[str, Chunk]], unfinished: str = ""
    ) -> None:
        """Write documents and chunks; whatever old chunks of finished documents have not come again are removed."""
        self._begin(records)
        changed: list[int] = []
        new: list[tuple[str, Chunk]] = []
        for path, chunk in chunks:
            before = self._old[path].pop(chunk.ordinal, None)
            if before is None or before[1] != _sameness(chunk):
                new.append((path, chunk))
                if before is not None:
                    changed.append(before[0])
        for path in [path for path in self._old if path != unfinished]:
            changed.extend(id_ for id_, *_ in self._old.pop(path).values())
        self._remove_chunks("id = ANY(%s)", changed)
        self._insert_chunks(new)
        if not unfinished:
            self._ids.clear()

    def _begin(self, records: Sequence[DocumentRecord]) -> None:
        columns = ", ".join(_RECORD)
        updates = ", ".join(f"{column} = excluded.{column}" for column in _RECORD)
        rows = self._cursor.execute(
            f"INSERT INTO {self._schema}.documents AS d ({columns}) SELECT * FROM unnest({_TYPES})"
            f" ON CONFLICT (path) DO UPDATE SET {updates} RETURNING d.path, d.id",
            _by_column(records),
        )
        by_escaped = dict(rows.fetchall())
        fresh = {record.path: by_escaped[escaped(record.path)] for record in records}
        self._ids.update(fresh)
        self._old.update({path: {} for path in fresh})
        paths = {id_: path for path, id_ in fresh.items()}
        found = self._cursor.execute(
            'SELECT document, ordinal, id, terms, hash, start, "end", place, headings, header'
            f" FROM {self._schema}.chunks WHERE document = ANY(%s)",
            (list(paths),),
        )
        for document, ordinal, id_, terms, *same in found:
            self._old[paths[document]][ordinal] = (id_, tuple(same), terms)

    def _insert_chunks(self, new: Sequence[tuple[str, Chunk]]) -> None:
        hashes = {chunk.hash for _, chunk in new}
        missing = hashes - kept(self._cursor, self._base.vectors, hashes)
        for path, chunk in new:
            if chunk.hash in missing:
                raise StorageError(f"{path}: chunk {chunk.ordinal} has no vector; nothing was changed")
        counted = self._index.counted([chunk for _, chunk in new])
        ids = [
            id_
            for (id_,) in self._cursor.execute(
                "SELECT nextval('whetstone_knowledge.chunk_ids') FROM generate_series(1, %s)", (len(new),)
            )
        ]
        columns = 'id, document, start, "end", ordinal, length, hash, place, headings, header, text, terms'
        with self._cursor.copy(f"COPY {self._schema}.chunks ({columns}) FROM STDIN") as copy:
            for id_, (path, chunk), counts in zip(ids, new, counted, strict=True):
                same, length = _sameness(chunk), sum(counts.values())
                hash_, start, end, place, headings, header = same
                own = (id_, self._ids[path], start, end, chunk.ordinal, length, hash_, place, headings, header)
                copy.write_row((*own, escaped(chunk.text), array_text(counts)))
        self._index.add(zip(ids, counted, strict=True))

    def _remove_chunks(self, condition: str, ids: Sequence[int]) -> None:
        if not ids:
            return
        rows = self._cursor.execute(
            f"DELETE FROM {self._schema}.chunks WHERE {condition} RETURNING id, terms, hash", (list(ids),)
        ).fetchall()
        self._forgotten.update(hash_ for *_, hash_ in rows)
        self._index.remove([(id_, terms) for id_, terms, _ in rows])

    def _drop_vectors(self) -> None:
        """Drop the vectors that no chunk needs: only those that a chunk had, or that were staged, can be such."""
        self._cursor.execute(
            f"DELETE FROM {self._base.vectors} v USING"
            f" (SELECT unnest(%s::bytea[]) AS hash UNION SELECT hash FROM {self._schema}.staged) AS f"
            f" WHERE v.hash = f.hash AND NOT EXISTS (SELECT 1 FROM {self._schema}.chunks c WHERE c.hash = f.hash)",
            (list(self._forgotten),),
        )
        self._cursor.execute(f"DELETE FROM {self._schema}.staged")

    def _known(self, paths: Collection[str]) -> dict[str, int]:
        """The ids of documents that must be there."""
        wanted = {escaped(path): path for path in paths}
        rows = self._cursor.execute(
            f"SELECT path, id FROM {self._schema}.documents WHERE path = ANY(%s)", (list(wanted),)
        )
        found = {wanted[path]: id_ for path, id_ in rows}
        for path in paths:
            if path not in found:
                raise StorageError(f"The knowledge base has no document {path} to change: run `whet kb sync` again")
        return found


def _by_column(records: Collection[DocumentRecord]) -> list[list[Any]]:
    """Records as one list for each column."""
    rows = [record_row(record) for record in records]
    return [[row[column] for row in rows] for column in range(len(_RECORD))]


def _sameness(chunk: Chunk) -> tuple[Any, ...]:
    """What a chunk that stays has in common with the one that was there; the text follows from its hash."""
    return (chunk.hash, chunk.start, chunk.end, escaped(chunk.place), headings_text(chunk), escaped(chunk.header))
