"""A knowledge base in PostgreSQL with pgvector, for a team: see `postgres_base` for its tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress

import numpy as np
import numpy.typing as npt

from whetstone.errors import StorageError, UsageError
from whetstone.retrieval import postgres_keyword, postgres_vectors, terms
from whetstone.retrieval.document import EVERYTHING, DocumentRecord, Filter, StoredChunk
from whetstone.retrieval.postgres_base import Base, Cursor, PostgresBase, make_vectors, write_header
from whetstone.retrieval.postgres_changes import apply_change
from whetstone.retrieval.postgres_faults import faults_of
from whetstone.retrieval.postgres_lock import syncing
from whetstone.retrieval.postgres_rows import RECORD, record_of, stored_chunks
from whetstone.retrieval.store import Change, Fault, Header, Match
from whetstone.retrieval.vector_check import checked
from whetstone.storage.columns import escaped
from whetstone.storage.database import Database, parsed_url

_VACUUM_FROM = 0.1  # of all chunks were written
_CHUNKS_AT_ONCE = 1000  # of a long document


def names(url: str, *, wait: float = 10.0) -> list[str]:
    """The knowledge bases in a database.

    Raises:
        UsageError: the URL cannot be read.
        MissingPackageError: PostgreSQL's driver is not installed.
        StorageError: the server cannot be reached.
    """
    with closing(_opened(url, wait)) as database, database.driver() as connection:
        if not connection.execute("SELECT to_regclass('whetstone_knowledge.bases') IS NOT NULL").fetchone()[0]:
            return []
        return sorted(name for (name,) in connection.execute("SELECT name FROM whetstone_knowledge.bases"))


class PostgresStore:
    """A `Store` in a PostgreSQL database, which several knowledge bases and other tables may share.

    Opens no connection before it is used.

    Args:
        url: `postgresql://USER:PASSWORD@HOST/DATABASE`.
        name: of the knowledge base.
        wait: seconds to wait for a lock that another program holds.

    Raises:
        UsageError: the URL cannot be read, or is not PostgreSQL's.
        MissingPackageError: PostgreSQL's driver is not installed.
    """

    def __init__(self, url: str, name: str, *, wait: float = 10.0) -> None:
        self.url = url
        self._name = name
        self._database = _opened(url, wait)
        self._base = PostgresBase(self._database, name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def where(self) -> str:
        return f"{self._name} in {self._database.name}"

    def header(self) -> Header | None:
        with self._base.reading() as (_, base):
            return base.header if base else None

    def create(self, header: Header) -> None:
        self._base.make(header)

    def writing(self, wait: float) -> AbstractContextManager[None]:
        return syncing(self._database, self._name, wait)

    def manifest(self) -> dict[str, DocumentRecord]:
        def work(cursor: Cursor, base: Base) -> dict[str, DocumentRecord]:
            rows = cursor.execute(f'SELECT {RECORD} FROM {base.schema}.documents ORDER BY path COLLATE "C"')
            return {record.path: record for record in map(record_of, rows)}

        return self._base.read(work)

    def chunks_of(self, path: str, first: int = 0) -> Iterator[StoredChunk]:
        page = "WHERE d.path = %s AND c.ordinal > %s ORDER BY c.ordinal LIMIT %s"
        with self._base.reading() as (cursor, base):
            schema, last = self._base.there(base).schema, first - 1
            while chunks := list(stored_chunks(cursor, schema, page, (escaped(path), last, _CHUNKS_AT_ONCE))):
                yield from chunks
                last = chunks[-1].chunk.ordinal

    def chunks(self, ids: Sequence[int]) -> list[StoredChunk]:
        asked = [int(id_) for id_ in ids]

        def work(cursor: Cursor, base: Base) -> dict[int, StoredChunk]:
            return {one.id: one for one in stored_chunks(cursor, base.schema, "WHERE c.id = ANY(%s)", (asked,))}

        by_id = self._base.read(work)
        return [by_id[id_] for id_ in asked if id_ in by_id]

    def count(self) -> int:
        return self._base.read(lambda _, base: base.chunks)

    def with_vectors(self, hashes: Collection[bytes]) -> set[bytes]:
        return self._base.read(lambda cursor, base: postgres_vectors.kept(cursor, base.vectors, hashes))

    def add_vectors(self, hashes: Sequence[bytes], vectors: npt.NDArray[np.float32]) -> None:
        with self._base.changing() as (cursor, base):
            checked(vectors, len(hashes), base.header.dimension)
            added = postgres_vectors.insert_vectors(cursor, base.vectors, hashes, vectors)
            cursor.execute(f"INSERT INTO {base.schema}.staged (hash) SELECT unnest(%s::bytea[])", (list(added),))

    def apply(self, change: Change, header: Header) -> Header:
        with self._base.changing() as (cursor, base):
            before = base.header
            if (before.embedder, before.dimension) != (header.embedder, header.dimension):
                raise StorageError(
                    f"{self.where} holds vectors of {before.embedder} ({before.dimension} dimensions), not of"
                    f" {header.embedder} ({header.dimension}): `whet kb reembed` changes them"
                )
            postgres_keyword.bring_up_to_date(cursor, base)
            highest = _highest_id(cursor)
            apply_change(cursor, base, change)
            postgres_vectors.bring_index_up_to_date(cursor, base.vectors, header.dimension)
            after = dataclasses.replace(header, state=before.state + 1)
            write_header(cursor, base, after, embedding=base.embedding)
            much = _highest_id(cursor) - highest > _VACUUM_FROM * base.chunks
        if much:
            self._vacuum(base)
        return after

    def dense(self, vector: npt.NDArray[np.float32], k: int, where: Filter = EVERYTHING) -> list[Match]:
        return self._base.read(lambda cursor, base: postgres_vectors.search(cursor, base, vector, k, where))

    def cosines(self, vector: npt.NDArray[np.float32], ids: Sequence[int]) -> list[float]:
        query = vector.astype(np.float64)
        return [float(one @ query) for one in self.vectors(ids).astype(np.float64)]

    def vectors(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        return self._base.read(lambda cursor, base: postgres_vectors.of_chunks(cursor, base, ids))

    def keyword(self, text: str, k: int, where: Filter = EVERYTHING) -> list[Match]:
        asked = terms.query_terms(text)
        if self._base.read(lambda _, base: base.terms) != terms.VERSION:  # once after an update of this program
            with self._base.changing() as (cursor, base):
                postgres_keyword.bring_up_to_date(cursor, base)
        return self._base.read(lambda cursor, base: postgres_keyword.search(cursor, base, asked, k, where))

    def document_frequency(self, terms: Sequence[str]) -> list[int]:
        return self._base.read(lambda cursor, base: postgres_keyword.frequencies(cursor, base, terms))

    def faults(self) -> Iterator[Fault]:
        with self._base.reading() as (cursor, base):
            if base is not None:
                yield from faults_of(cursor, base)

    def replace_vectors(
        self, header: Header, batches: Iterable[tuple[Sequence[bytes], npt.NDArray[np.float32]]]
    ) -> Header:
        with self._base.changing() as (cursor, base):
            table = f"{base.schema}.vectors_{base.embedding + 1}"
            make_vectors(cursor, table, header.dimension)
            for hashes, vectors in batches:
                checked(vectors, len(hashes), header.dimension)
                postgres_vectors.insert_vectors(cursor, table, hashes, vectors)
            missing = cursor.execute(
                f"SELECT count(*) FROM {base.schema}.chunks c"
                f" WHERE NOT EXISTS (SELECT 1 FROM {table} v WHERE v.hash = c.hash)"
            ).fetchone()[0]
            if missing:
                raise StorageError(f"{missing} chunks have no new vector; the old vectors are kept")
            cursor.execute(
                f"DELETE FROM {table} v WHERE NOT EXISTS (SELECT 1 FROM {base.schema}.chunks c WHERE c.hash = v.hash)"
            )
            postgres_vectors.bring_index_up_to_date(cursor, table, header.dimension)
            cursor.execute(f"DELETE FROM {base.schema}.staged")
            after = dataclasses.replace(header, state=base.header.state + 1)
            write_header(cursor, base, after, embedding=base.embedding + 1)
            cursor.execute(f"ANALYZE {table}")
            cursor.execute(f"DROP TABLE {base.vectors}")  # last: from here on readers wait for the end
        return after

    def delete(self) -> None:
        with self.writing(0):
            self._base.drop()

    def close(self) -> None:
        self._database.close()

    def _vacuum(self, base: Base) -> None:
        """Let the keyword index answer without its table, three times as fast, and the planner know the new sizes.

        The server would do that by itself, a minute later or so: if it does not work now, nothing is lost.
        """
        with suppress(StorageError), self._database.driver() as connection:
            connection.autocommit = True
            try:
                tables = [f"{base.schema}.{table}" for table in ("documents", "chunks", "terms", "postings")]
                connection.execute(f"VACUUM (ANALYZE) {', '.join([*tables, base.vectors])}")
            finally:
                connection.autocommit = False


def _opened(url: str, wait: float) -> Database:
    where = parsed_url(url)
    if where.get_backend_name() != "postgresql":
        raise UsageError("This store of knowledge bases is PostgreSQL: write postgresql://USER:PASSWORD@HOST/DATABASE")
    return Database(where, wait)


def _highest_id(cursor: Cursor) -> int:
    return int(cursor.execute("SELECT last_value FROM whetstone_knowledge.chunk_ids").fetchone()[0])
