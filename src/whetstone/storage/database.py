"""The one database: SQLite in a file of ours, or PostgreSQL by URL, brought to the newest form when it is opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from whetstone import settings
from whetstone.errors import MissingPackageError, UsageError
from whetstone.storage.database_errors import explained
from whetstone.storage.schema import bring_up_to_date

_FORMS = "write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"

_SECRETS = ("password", "sslpassword")  # libpq takes them from the query too


class Database:
    """An open database. Safe to use from several threads.

    Args:
        url: where it is, with the driver named.
        wait: seconds to wait for a lock that another program holds.

    Attributes:
        engine: SQLAlchemy's engine.
        name: where it is, in words, without the password.
    """

    def __init__(self, url: URL, wait: float) -> None:
        self._wait = wait
        self.engine = _engine(url, wait)
        shown = url.set(drivername="postgresql").difference_update_query(_SECRETS)
        self.name = str(_file(url) or shown.render_as_string(hide_password=True))
        # SQLite lets waiting connections in by chance, and they sleep in between; threads of ours can queue.
        self._turn = threading.Lock() if self.sqlite else nullcontext()

    @property
    def sqlite(self) -> bool:
        """Whether it is SQLite; otherwise it is PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database throughout.

        Raises:
            StorageError: in one sentence, why it cannot be read.
        """
        with self._explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction, which is committed at the end, or undone by an exception.

        Raises:
            StorageError: in one sentence, why it cannot be written.
        """
        with self._explained(), self._turn, self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def driver(self) -> Iterator[Any]:
        """A connection of the driver itself, outside a transaction, for what SQLAlchemy cannot say.

        Raises:
            StorageError: in one sentence, what the database complained about.
        """
        complaints = self.engine.dialect.import_dbapi().Error
        with self._explained():
            try:
                pooled = self.engine.raw_connection()
                connection = pooled.driver_connection
                try:
                    yield connection
                finally:
                    if getattr(connection, "closed", False):
                        pooled.invalidate()
                    pooled.close()  # back into the pool; an open transaction is undone
            except complaints as error:
                raise DBAPIError(None, None, error) from error

    def close(self) -> None:
        """Close its connections. Closing twice is harmless."""
        self.engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            secrets = [self.engine.url.password, *(self.engine.url.query.get(name) for name in _SECRETS)]
            raise explained(error, [str(one) for one in secrets if one], self.name, self._wait) from error


def open_database(url: str | None = None, *, wait: float = 10.0) -> Database:
    """Open the database, create it if need be, and bring its tables to the form that this program knows.

    Several processes may open a new database at once.

    Args:
        url: `sqlite:///FILE` or `postgresql://…`; None means `WHETSTONE_DATABASE_URL`, and without that the file
            whetstone.db in `settings.home()`.
        wait: seconds to wait for a lock that another program holds.

    Raises:
        UsageError: the URL cannot be read, or names another kind of database.
        MissingPackageError: PostgreSQL without its driver.
        StorageError: it cannot be reached, opened, or written, or it belongs to a newer program; without the password.
    """
    where = parsed_url(url if url is not None else settings.database_url())
    database = Database(where, wait)
    try:
        with database._explained():
            bring_up_to_date(database.engine, _file(where), database.name, wait)
    except BaseException:
        database.close()
        raise
    return database


def parsed_url(text: str) -> URL:
    """A database's URL with its driver; the file of ours for "".

    Raises:
        UsageError: the URL cannot be read, or names another kind of database; without the password.
    """
    if not text.strip():
        return URL.create("sqlite", database=str(settings.home() / "whetstone.db"))
    try:
        url = sa.make_url(text.strip())
    except (ArgumentError, ValueError):  # the text may hold a password: it is not repeated
        raise UsageError(f"The database URL cannot be read: {_FORMS}") from None
    kind = url.get_backend_name()
    if kind == "sqlite":
        if not _file(url):
            raise UsageError("A database in memory cannot be shared by threads and is lost at the end: name a file")
        return url
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise UsageError(f"Whetstone keeps its data in SQLite or PostgreSQL, not in {kind!r}: {_FORMS}")


def _file(url: URL) -> Path | None:
    """The file of a SQLite database; None for any other, and for one in memory."""
    if url.get_backend_name() != "sqlite" or not url.database or ":memory:" in url.database:
        return None
    return Path(unquote(url.database[5:]) if url.database.startswith("file:") else url.database)


def _engine(url: URL, wait: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": wait})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        # A server may have been restarted since a connection was last used: ask before each use.
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": max(2, round(wait))})
    except ImportError:
        raise MissingPackageError("psycopg", "PostgreSQL", "pip install 'whetstone-llm[postgres]'") from None

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {round(wait * 1000)}")
        cursor.close()
        connection.commit()

    return engine


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    # Python's sqlite3 would begin transactions by itself, too late and always as readers: `_begin_sqlite` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # In WAL mode this loses nothing when the process is killed; a power cut may undo the last transactions, wholly.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that becomes a writer later can be refused without waiting; a writer from the start waits its turn.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
