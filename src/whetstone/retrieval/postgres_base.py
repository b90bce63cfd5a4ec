"""The tables of knowledge bases in a PostgreSQL database, and transactions on them.

`whetstone_knowledge.bases` has a row for each knowledge base, its header among the columns. The rest stands in a schema
for each one, `whetstone_kb_ID`, so that each has vectors of its own dimension under an HNSW index of its own, and goes
away as a whole:

- documents: the manifest.
- chunks: with the hash that leads to their vector, and the numbers of their distinct terms.
- vectors_N: hash -> vector; N counts the embedders that the knowledge base has had.
- staged: hashes of vectors that were kept since the last change, and may belong to no chunk yet.
- terms, postings: the keyword index, see `postgres_keyword`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from whetstone.errors import StorageError
from whetstone.retrieval import terms
from whetstone.retrieval.store import Header
from whetstone.storage.columns import escaped, unescaped
from whetstone.storage.database import Database

Result = TypeVar("Result")
Cursor = Any  # psycopg's, which is loaded where PostgreSQL is used

_BASES = """
CREATE SCHEMA IF NOT EXISTS whetstone_knowledge;
CREATE SEQUENCE IF NOT EXISTS whetstone_knowledge.chunk_ids;
CREATE TABLE IF NOT EXISTS whetstone_knowledge.bases (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
    folder text NOT NULL, embedder text NOT NULL, embedder_spec text NOT NULL, dimension integer NOT NULL,
    chunker text NOT NULL, synced double precision NOT NULL, state bigint NOT NULL,
    embedding integer NOT NULL, terms integer NOT NULL, chunks bigint NOT NULL, length bigint NOT NULL);
"""

# Columns of 8 bytes first, as PostgreSQL fills up to them.
_TABLES = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, size bigint NOT NULL, modified bigint NOT NULL,
    chunks integer NOT NULL, path text NOT NULL UNIQUE, digest text NOT NULL, title text NOT NULL,
    metadata text NOT NULL, problem text NOT NULL);
CREATE TABLE {schema}.chunks (
    id bigint PRIMARY KEY, document bigint NOT NULL, start bigint NOT NULL, "end" bigint NOT NULL,
    ordinal integer NOT NULL, length integer NOT NULL, hash bytea NOT NULL, place text NOT NULL,
    headings text NOT NULL, header text NOT NULL, text text NOT NULL, terms integer[] NOT NULL);
CREATE INDEX ON {schema}.chunks (document, ordinal);
CREATE INDEX ON {schema}.chunks (hash);
CREATE TABLE {schema}.terms (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, chunks integer NOT NULL DEFAULT 0,
    term text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE {schema}.postings (
    chunk bigint NOT NULL, term integer NOT NULL, count integer NOT NULL, length integer NOT NULL);
CREATE UNIQUE INDEX postings_by_term ON {schema}.postings (term, chunk) INCLUDE (count, length);
CREATE TABLE {schema}.staged (hash bytea PRIMARY KEY);
"""

_HEADER = ("folder", "embedder", "embedder_spec", "dimension", "chunker", "synced", "state")
_COLUMNS = ", ".join(("id", "embedding", "terms", "chunks", "length", *_HEADER))
_MAKING = 0x77686B62  # "whkb": the advisory lock under which the tables are made

# Each statement here ends within milliseconds, where compiling it would not pay. One worker adds up scores in one
# order, so that equal texts have equal scores; the joins that are left out would read whole tables for a few rows.
_SETTINGS = "".join(
    f", set_config('{name}', '{value}', true)"
    for name, value in {
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
    }.items()
)


@dataclass(frozen=True, slots=True)
class Base:
    """A knowledge base as one transaction sees it.

    Attributes:
        id: number of its schema.
        embedding: number of its table of vectors.
        terms: version of `terms` that wrote its keyword index.
        chunks: how many chunks there are; `length` is how many terms they have in all.
        header: see `Header`.
    """

    id: int
    embedding: int
    terms: int
    chunks: int
    length: int
    header: Header

    @property
    def schema(self) -> str:
        """Of its tables."""
        return f"whetstone_kb_{self.id}"

    @property
    def vectors(self) -> str:
        """Its table of vectors."""
        return f"{self.schema}.vectors_{self.embedding}"


class PostgresBase:
    """Transactions on one knowledge base. Safe to use from several threads.

    Args:
        database: a PostgreSQL.
        name: of the knowledge base.
    """

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name

    def read(self, work: Callable[[Cursor, Base], Result]) -> Result:
        """What `work` finds in one state of the knowledge base.

        Raises:
            StorageError: there is no knowledge base, or it cannot be read.
        """
        for last in (False, True):
            try:
                with self.reading() as (cursor, base):
                    return work(cursor, self.there(base))
            except StorageError as error:
                # Another embedder's vectors were swapped in after the header was read: their table has a new name.
                if last or sqlstate(error) not in ("42P01", "3F000"):
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def reading(self) -> Iterator[tuple[Cursor, Base | None]]:
        """A cursor that sees one state throughout, and the knowledge base if there is one."""
        import psycopg

        with self.database.driver() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.prepare_threshold = None  # plans depend on the terms and on k
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    yield cursor, read_base(cursor, self.name)
            finally:
                if not connection.closed:
                    connection.isolation_level = connection.read_only = None

    @contextmanager
    def changing(self) -> Iterator[tuple[Cursor, Base]]:
        """A cursor in a transaction that is committed at the end; others that want to change wait.

        Raises:
            StorageError: there is no knowledge base, or it cannot be written.
        """
        with self.database.driver() as connection, connection.transaction(), connection.cursor() as cursor:
            connection.prepare_threshold = None
            yield cursor, self.there(read_base(cursor, self.name, lock=True))

    def there(self, base: Base | None) -> Base:
        """The knowledge base, which must be there.

        Raises:
            StorageError: it is not.
        """
        if base is None:
            raise StorageError(
                f"There is no knowledge base {self.name} in {self.database.name}: make it with `whet kb sync FOLDER`"
            )
        return base

    def make(self, header: Header) -> None:
        """Make an empty knowledge base in place of what is there. Ids of chunks go on from where they were.

        Raises:
            StorageError: the server has no pgvector, or this user may not make tables.
        """
        with self.database.driver() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            self._extension(cursor)
            cursor.execute(_BASES)
            before = read_base(cursor, self.name, lock=True)
            if before:
                cursor.execute(f"DROP SCHEMA IF EXISTS {before.schema} CASCADE")
                cursor.execute("DELETE FROM whetstone_knowledge.bases WHERE id = %s", (before.id,))
            values = (self.name, *_header_values(header)[:-1], before.header.state + 1 if before else 0, terms.VERSION)
            cursor.execute(
                f"INSERT INTO whetstone_knowledge.bases (name, {', '.join(_HEADER)}, terms, embedding, chunks, length)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0, 0)",
                values,
            )
            made = read_base(cursor, self.name)
            assert made is not None
            cursor.execute(_TABLES.format(schema=made.schema))
            make_vectors(cursor, made.vectors, header.dimension)

    def drop(self) -> None:
        """Remove it; nothing happens if there is none."""
        with self.database.driver() as connection, connection.transaction(), connection.cursor() as cursor:
            base = read_base(cursor, self.name, lock=True)
            if base:
                cursor.execute(f"DROP SCHEMA IF EXISTS {base.schema} CASCADE")
                cursor.execute("DELETE FROM whetstone_knowledge.bases WHERE id = %s", (base.id,))

    def _extension(self, cursor: Cursor) -> None:
        import psycopg

        found = cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        if not found:
            try:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.errors.InsufficientPrivilege as error:
                raise StorageError(
                    f"{self.database.name}: this user may not add the extension pgvector: let an administrator run "
                    "CREATE EXTENSION vector in this database"
                ) from error
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
                raise StorageError(
                    f"{self.database.name}: the server has no pgvector, which keeps the vectors of knowledge bases: "
                    "install it there (https://github.com/pgvector/pgvector)"
                ) from error
            found = cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        if [int(part) for part in found[0].split(".")[:2]] < [0, 8]:
            raise StorageError(
                f"{self.database.name} has pgvector {found[0]}, and 0.8 is the oldest that searches with filters: "
                "install a newer one there, and run ALTER EXTENSION vector UPDATE"
            )


def read_base(cursor: Cursor, name: str, *, lock: bool = False) -> Base | None:
    """The knowledge base, if there is one; with `lock`, for whoever changes it alone."""
    there = cursor.execute("SELECT to_regclass('whetstone_knowledge.bases') IS NOT NULL").fetchone()
    if not there[0]:
        return None
    columns = _COLUMNS if lock else _COLUMNS + _SETTINGS
    row = cursor.execute(
        f"SELECT {columns} FROM whetstone_knowledge.bases WHERE name = %s{' FOR UPDATE' if lock else ''}", (name,)
    ).fetchone()
    if row is None:
        return None
    id_, embedding, version, chunks, length, folder, embedder, spec, dimension, chunker, synced, state = row[:12]
    header = Header(unescaped(folder), unescaped(embedder), unescaped(spec), dimension, chunker, synced, state)
    return Base(id_, embedding, version, chunks, length, header)


def write_header(cursor: Cursor, base: Base, header: Header, *, embedding: int) -> None:
    """The header of a new state, and the counts of chunks and terms."""
    columns = ", ".join(f"{name} = %s" for name in _HEADER)
    cursor.execute(
        f"UPDATE whetstone_knowledge.bases SET {columns}, embedding = %s,"
        f" (chunks, length) = (SELECT count(*), coalesce(sum(length), 0) FROM {base.schema}.chunks) WHERE id = %s",
        (*_header_values(header), embedding, base.id),
    )


def make_vectors(cursor: Cursor, table: str, dimension: int) -> None:
    """A table of vectors. Where they fit into a page they stay in their row, and are read without a detour."""
    cursor.execute(f"CREATE TABLE {table} (hash bytea PRIMARY KEY, vector vector({dimension}) NOT NULL)")
    if 4 * dimension < 7900:
        cursor.execute(f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN")


def sqlstate(error: StorageError) -> str:
    """PostgreSQL's code of what an error was made from; "" if it was something else."""
    return str(getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) or "")


def _header_values(header: Header) -> tuple[Any, ...]:
    return (
        escaped(header.folder),
        escaped(header.embedder),
        escaped(header.embedder_spec),
        header.dimension,
        header.chunker,
        header.synced,
        header.state,
    )
