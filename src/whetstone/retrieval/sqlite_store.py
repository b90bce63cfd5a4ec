"""A knowledge base in one SQLite file: documents, chunks, float32 vectors, their codes, and the keyword index."""

from __future__ import annotations

import dataclasses
import json
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whetstone.errors import StorageError
from whetstone.retrieval import sqlite_keyword, terms
from whetstone.retrieval.document import EVERYTHING, DocumentRecord, Filter, StoredChunk
from whetstone.retrieval.sqlite_changes import apply_change, clear, insert_vectors, swap_vectors
from whetstone.retrieval.sqlite_faults import faults_of
from whetstone.retrieval.sqlite_file import SqliteFile, is_damage
from whetstone.retrieval.sqlite_lock import lock_files, syncing
from whetstone.retrieval.sqlite_passing import Filters, Passing
from whetstone.retrieval.sqlite_rows import RECORD, record_of, stored_chunks
from whetstone.retrieval.sqlite_vectors import Vectors
from whetstone.retrieval.store import Change, Fault, Header, Match
from whetstone.retrieval.vector_check import checked

_HEADER = "folder, embedder, embedder_spec, dimension, chunker, synced, state"


class SqliteStore:
    """A `Store` in a file. Beside it stand SQLite's own -wal and -shm while it is open, and -lock.

    Args:
        file: NAME.db; it is made by `create`.
        wait: seconds to wait for a lock that another program holds on the file.
    """

    def __init__(self, file: Path, *, wait: float = 10.0) -> None:
        self.file = file
        self._sqlite = SqliteFile(file, wait)
        self._vectors = Vectors()
        self._filters = Filters()
        self._frequencies = sqlite_keyword.Frequencies()

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def where(self) -> str:
        return str(self.file)

    def header(self) -> Header | None:
        if not self._sqlite.exists():
            return None
        with self._sqlite.reading() as connection:
            return _header(connection)

    def create(self, header: Header) -> None:
        try:
            self._sqlite.make()
            with self._sqlite.changing() as connection:
                before = _header(connection)
                clear(connection)
                _write_header(connection, dataclasses.replace(header, state=before.state + 1 if before else 0))
        except StorageError as error:
            if not is_damage(error.__cause__):
                raise
            self._sqlite.remove()  # nothing in it can be trusted
            self._sqlite.make()
            with self._sqlite.changing() as connection:
                _write_header(connection, dataclasses.replace(header, state=0))
        self._sqlite.shrink()

    def writing(self, wait: float) -> AbstractContextManager[None]:
        return syncing(self.file, wait)

    def manifest(self) -> dict[str, DocumentRecord]:
        with self._sqlite.reading() as connection:
            rows = connection.execute(f"SELECT {RECORD} FROM documents ORDER BY path")
            return {row[0]: record_of(row) for row in rows}

    def chunks_of(self, path: str, first: int = 0) -> Iterator[StoredChunk]:
        with self._sqlite.reading() as connection:
            which = "WHERE d.path = ? AND c.ordinal >= ? ORDER BY c.ordinal"
            yield from stored_chunks(connection, which, (path, first))

    def chunks(self, ids: Sequence[int]) -> list[StoredChunk]:
        with self._sqlite.reading() as connection:
            asked = json.dumps([int(id_) for id_ in ids])
            found = stored_chunks(connection, "WHERE c.id IN (SELECT value FROM json_each(?))", (asked,))
            by_id = {stored.id: stored for stored in found}
        return [by_id[id_] for id_ in ids if id_ in by_id]

    def count(self) -> int:
        with self._sqlite.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def with_vectors(self, hashes: Collection[bytes]) -> set[bytes]:
        with self._sqlite.reading() as connection:
            header = "SELECT 1 FROM vectors WHERE hash = ? AND embedding = (SELECT embedding FROM header)"
            return {hash_ for hash_ in hashes if connection.execute(header, (hash_,)).fetchone()}

    def add_vectors(self, hashes: Sequence[bytes], vectors: npt.NDArray[np.float32]) -> None:
        with self._sqlite.changing() as connection:
            header = self._must(_header(connection))
            insert_vectors(connection, _embedding(connection), hashes, checked(vectors, len(hashes), header.dimension))

    def apply(self, change: Change, header: Header) -> Header:
        with self._sqlite.changing() as connection:
            before = self._must(_header(connection))
            if (before.embedder, before.dimension) != (header.embedder, header.dimension):
                raise StorageError(
                    f"{self.file} holds vectors of {before.embedder} ({before.dimension} dimensions), not of"
                    f" {header.embedder} ({header.dimension}): `whet kb reembed` changes them"
                )
            sqlite_keyword.bring_up_to_date(connection)
            apply_change(connection, change)
            after = dataclasses.replace(header, state=before.state + 1)
            _write_header(connection, after)
        self._sqlite.shrink()
        return after

    def dense(self, vector: npt.NDArray[np.float32], k: int, where: Filter = EVERYTHING) -> list[Match]:
        with self._sqlite.reading() as connection:
            return self._vectors.search(connection, vector, k, self._passing(connection, where))

    def cosines(self, vector: npt.NDArray[np.float32], ids: Sequence[int]) -> list[float]:
        query = vector.astype(np.float64)
        return [float(one @ query) for one in self.vectors(ids).astype(np.float64)]

    def vectors(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        with self._sqlite.reading() as connection:
            return self._vectors.of_chunks(connection, ids)

    def keyword(self, text: str, k: int, where: Filter = EVERYTHING) -> list[Match]:
        asked = terms.query_terms(text)
        with self._sqlite.reading() as connection:
            if not sqlite_keyword.is_outdated(connection):
                return self._by_words(connection, asked, k, where)
        with self._sqlite.changing() as connection:  # once after an update of this program
            sqlite_keyword.bring_up_to_date(connection)
            return self._by_words(connection, asked, k, where)

    def _by_words(self, connection: sqlite3.Connection, asked: Sequence[str], k: int, where: Filter) -> list[Match]:
        counts = dict(zip(asked, self._frequencies.of(connection, asked), strict=True))
        return sqlite_keyword.search(connection, counts, k, self._passing(connection, where))

    def document_frequency(self, terms: Sequence[str]) -> list[int]:
        with self._sqlite.reading() as connection:
            return self._frequencies.of(connection, terms)

    def faults(self) -> Iterator[Fault]:
        yield from faults_of(self._sqlite)

    def replace_vectors(
        self, header: Header, batches: Iterable[tuple[Sequence[bytes], npt.NDArray[np.float32]]]
    ) -> Header:
        with self._sqlite.changing() as connection:
            before = self._must(_header(connection))
            embedding = _embedding(connection) + 1
            for hashes, vectors in batches:
                insert_vectors(connection, embedding, hashes, checked(vectors, len(hashes), header.dimension))
            swap_vectors(connection, embedding)
            after = dataclasses.replace(header, state=before.state + 1)
            _write_header(connection, after)
            connection.execute("UPDATE header SET embedding = ?", (embedding,))
        self._sqlite.shrink()
        return after

    def delete(self) -> None:
        with self.writing(0):
            self._sqlite.remove()
        for file in lock_files(self.file):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        self._sqlite.close()

    def _passing(self, connection: sqlite3.Connection, where: Filter) -> Passing | None:
        return self._filters.passing(connection, where) if where else None

    def _must(self, header: Header | None) -> Header:
        if header is None:
            raise StorageError(f"There is no knowledge base {self.file}: make it with `whet kb sync FOLDER`")
        return header


def _header(connection: sqlite3.Connection) -> Header | None:
    row = connection.execute(f"SELECT {_HEADER} FROM header").fetchone()
    return Header(*row) if row else None


def _embedding(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT embedding FROM header").fetchone()[0])


def _write_header(connection: sqlite3.Connection, header: Header) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO header VALUES (1, ?, ?, 0, 0, 0, '', '', '', 0, '', 0, 0)",
        (secrets.token_hex(8), terms.VERSION),
    )
    columns = ", ".join(f"{column} = ?" for column in _HEADER.split(", "))
    connection.execute(f"UPDATE header SET {columns}", dataclasses.astuple(header))
