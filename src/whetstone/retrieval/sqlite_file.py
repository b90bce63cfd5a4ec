"""The SQLite file of a knowledge base: its tables, its connections, and its complaints in our words."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from whetstone.errors import StorageError
from whetstone.storage.files import storage_error
from whetstone.storage.sqlite_errors import sqlite_sentence

FORMAT = 1  # of the tables; kept in the file as `user_version`
_OURS = 0x776B6221  # "wkb!"; kept in the file as `application_id`

# The keyword index holds no text of its own (content=''): what it says of a chunk can be computed from the chunk.
# Its tokenizer only splits at blanks, as terms hold letters, digits and dots (see `terms`).
# Pages of 16 KiB hold 10 vectors of 384 dimensions and leave 5 % empty; those of 4 KiB hold 2 and leave 24 %.
_TABLES = """
PRAGMA page_size = 16384;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS header (
    id INTEGER PRIMARY KEY CHECK (id = 1), token TEXT NOT NULL, terms INTEGER NOT NULL, embedding INTEGER NOT NULL,
    packing INTEGER NOT NULL, last_vector INTEGER NOT NULL, folder TEXT NOT NULL, embedder TEXT NOT NULL,
    embedder_spec TEXT NOT NULL, dimension INTEGER NOT NULL, chunker TEXT NOT NULL, synced REAL NOT NULL,
    state INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, modified INTEGER NOT NULL,
    digest TEXT NOT NULL, title TEXT NOT NULL, metadata TEXT NOT NULL, chunks INTEGER NOT NULL, problem TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL, embedding INTEGER NOT NULL, vector BLOB NOT NULL,
    UNIQUE (hash, embedding));
CREATE TABLE IF NOT EXISTS packs (
    last INTEGER PRIMARY KEY, count INTEGER NOT NULL, ids BLOB NOT NULL, codes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS dropped_codes (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL, ordinal INTEGER NOT NULL, vector INTEGER NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, place TEXT NOT NULL, headings TEXT NOT NULL, header TEXT NOT NULL,
    text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_by_document ON chunks (document, ordinal, vector);
CREATE INDEX IF NOT EXISTS chunks_by_vector ON chunks (vector);
CREATE VIRTUAL TABLE IF NOT EXISTS keyword USING fts5 (terms, content = '', tokenize = "ascii tokenchars '.'");
CREATE VIRTUAL TABLE IF NOT EXISTS keyword_terms USING fts5vocab (keyword, row);
PRAGMA application_id = {ours};
PRAGMA user_version = {format};
COMMIT;
"""


# NORMAL may lose the last transaction with the power, never the file; a sync would do that work again.
_SETTINGS = """
PRAGMA synchronous = NORMAL;
PRAGMA secure_delete = FAST;
PRAGMA cache_size = -16384;
PRAGMA journal_size_limit = 16777216;
"""


class SqliteFile:
    """Connections to the file. Safe to use from several threads.

    Args:
        path: the file; it need not exist.
        wait: seconds to wait for a lock that another program holds.
    """

    def __init__(self, path: Path, wait: float) -> None:
        self.path = path
        self._wait = wait
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # threads queue better than SQLite's waiting connections, which sleep in between
        self._idle: list[sqlite3.Connection] = []
        self._opened: tuple[int, int] | None = None

    def exists(self) -> bool:
        """Whether there is anything in it."""
        try:
            return self.path.stat().st_size > 0
        except FileNotFoundError:
            return False
        except OSError as error:
            raise storage_error(self.path, error) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state throughout.

        Raises:
            StorageError: there is no knowledge base, or it cannot be read.
        """
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction, which is committed at the end, or undone by an exception.

        Raises:
            StorageError: there is no knowledge base, or it cannot be written.
        """
        with self._turn, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has undone it already when the disk is full
                    connection.execute("ROLLBACK")
                raise

    def make(self) -> None:
        """Make the tables where they are missing.

        Raises:
            StorageError: the file belongs to another program, or cannot be written.
        """
        with self._turn, self._explained():
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise storage_error(self.path, error) from error
            connection = self._connect()
            try:
                if self._kind(connection) != _OURS and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    raise self._foreign()
                connection.executescript(_TABLES.format(ours=_OURS, format=FORMAT))
            finally:
                connection.close()

    def shrink(self) -> None:
        """Give pages back to the disk once a quarter of the file is empty."""
        with self._turn, self._connection() as connection:
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            if free * 4 > connection.execute("PRAGMA page_count").fetchone()[0]:
                connection.executescript("PRAGMA incremental_vacuum")  # `execute` would stop after a page

    def remove(self) -> None:
        """Remove the file and all that SQLite keeps beside it.

        Raises:
            StorageError: it belongs to another user.
        """
        self.close()
        for suffix in ("", "-wal", "-shm", "-journal"):
            try:
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            except OSError as error:
                raise storage_error(self.path, error) from error

    def close(self) -> None:
        """Close the connections that nobody uses; the others are closed when they come back."""
        with self._lock:
            idle, self._idle, self._opened = self._idle, [], None
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            identity = self._identity()
            with self._lock:
                stale = self._idle if identity != self._opened else []
                if stale:
                    self._idle = []  # another process deleted the file and made a new one
                self._opened = identity
                connection = self._idle.pop() if self._idle else None
            for one in stale:
                one.close()
            if connection is None:
                connection = self._checked(self._connect())
            kept = False
            try:
                yield connection
                kept = True
            except sqlite3.Error:
                raise  # whatever is wrong with it: the next one is a new one
            except BaseException:
                kept = True
                raise
            finally:
                with self._lock:
                    if kept := kept and identity == self._opened:
                        self._idle.append(connection)
                if not kept:
                    connection.close()

    def _identity(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            raise StorageError(f"There is no knowledge base {self.path}: make it with `whet kb sync FOLDER`") from None
        except OSError as error:
            raise storage_error(self.path, error) from error
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self._wait, isolation_level=None, check_same_thread=False)
        connection.executescript(_SETTINGS)
        return connection

    def _checked(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        try:
            if self._kind(connection) != _OURS:
                raise self._foreign()
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found != FORMAT:
                raise StorageError(
                    f"{self.path} was written by another version of Whetstone (its form is {found}, this program knows"
                    f" {FORMAT}): update Whetstone, or make it anew with `whet kb sync --rebuild`"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _kind(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA application_id").fetchone()[0])

    def _foreign(self) -> StorageError:
        return StorageError(f"{self.path} is a database of another program: name another knowledge base")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self.complaint(error) from error
        except UnicodeEncodeError as error:  # half a character, as in file names that are not UTF-8
            raise StorageError(f"{self.path} can only keep Unicode text, not {error.object[:80]!r}") from error

    def complaint(self, error: sqlite3.Error) -> StorageError:
        """The sentence for an error of SQLite."""
        said = " ".join(str(error).split())
        if is_damage(error):
            return StorageError(
                f"{self.path} is damaged ({said}): `whet kb fsck` says what is wrong,"
                " `whet kb sync --rebuild` makes it anew from the documents"
            )
        sentence = sqlite_sentence(said) or "{name}: {said}"
        return StorageError(sentence.format(name=self.path, said=said, wait=self._wait))


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite could not make sense of the file's bytes."""
    said = str(error)
    return isinstance(error, sqlite3.DatabaseError) and (
        "malformed" in said or "not a database" in said or "corrupt" in said or said.startswith("no such table")
    )
