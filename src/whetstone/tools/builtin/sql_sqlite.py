"""A SQLite file that is asked and not changed.

Three things hold together: the file is opened read-only, an authorizer lets nothing but reading through (no ATTACH, no
PRAGMA, no extension), and a handler that SQLite calls while it works ends a query that takes too long.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from whetstone.errors import UsageError
from whetstone.tools.builtin.sql import SECONDS

_STEPS = 10_000  # of SQLite's machine between two looks at the clock
_MOST_BYTES = 10_000_000  # of one value
_MOST_SQL = 20_000
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_REFUSED_FUNCTIONS = {"load_extension", "fts3_tokenizer", "writefile", "readfile", "edit"}


class SqliteRows:
    """A database file.

    Args:
        path: of the file.
        seconds: of one query.

    Raises:
        UsageError: there is no such file, or it is no SQLite database.
    """

    kind = "SQLite"

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        if not path.is_file():
            raise UsageError(f"sql: {path} is no file: write sql:FILE.db, or sql:postgresql://USER@HOST/DATABASE")
        self.tables()

    def tables(self) -> list[tuple[str, list[str]]]:
        """See `Rows`."""
        listed = (
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        )
        try:
            with self._connected() as connection:
                names = [str(row[0]) for row in connection.execute(f"{listed} ORDER BY name")]
                columns = "SELECT name, type FROM pragma_table_info(?)"
                return [
                    (name, [f"{column} {kind}".strip() for column, kind in connection.execute(columns, (name,))])
                    for name in names
                ]
        except sqlite3.Error as error:
            raise UsageError(f"sql: {self._path} cannot be read as a SQLite database: {error}") from None

    def query(self, sql: str, most: int) -> tuple[list[str], list[Sequence[Any]]]:
        """See `Rows`."""
        try:
            with self._connected(guarded=True) as connection:
                cursor = connection.execute(sql)
                rows: list[Sequence[Any]] = cursor.fetchmany(most)
                return [str(column[0]) for column in cursor.description or ()], rows
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise UsageError(self._why(error)) from None

    @contextmanager
    def _connected(self, guarded: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection for this thread; only a guarded one may see what a model wrote."""
        address = f"file:{quote(str(self._path.resolve()))}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=self._seconds, isolation_level=None)
        try:
            deadline = time.monotonic() + self._seconds
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
            connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MOST_SQL)
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            if guarded:
                connection.set_authorizer(_may)
            yield connection
        finally:
            connection.close()

    def _why(self, error: Exception) -> str:
        said = str(error)
        if "interrupted" in said:
            return f"the query took longer than {self._seconds:g} s and was stopped: ask for less"
        if "not authorized" in said or "prohibited" in said:
            return "only reading is allowed: write one SELECT"
        if "one statement" in said:
            return "write one statement, not several"
        return f"the database answered: {said}"


def _may(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = (second or "").lower() not in _REFUSED_FUNCTIONS
    else:
        allowed = action in _ALLOWED
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
