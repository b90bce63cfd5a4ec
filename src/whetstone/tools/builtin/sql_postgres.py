"""A PostgreSQL database that is asked and not changed.

Each query has a connection to itself, and on it a READ ONLY transaction that is always undone, so that nothing a query
sets outlives it. It is sent in the protocol's extended form, which carries a single statement: none can end the
transaction and begin another one. What a superuser's functions could still do (read files of the server) a role without
such rights cannot: give the tool a role that may only read what it should.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

from whetstone.errors import MissingPackageError, UsageError
from whetstone.tools.builtin.sql import SECONDS

# No comment before it: how far one reaches is for PostgreSQL to say.
_READS = re.compile(r"\s*\(*\s*(?:select|with|values|table|explain|show)\b", re.IGNORECASE)
_COLUMNS = """
SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
ORDER BY table_schema, table_name, ordinal_position
LIMIT 5000
"""


class PostgresRows:
    """A database by URL.

    Args:
        url: `postgresql://USER:PASSWORD@HOST/DATABASE`, as libpq takes it.
        seconds: of one query.

    Raises:
        UsageError: it cannot be reached.
        MissingPackageError: psycopg is not installed.
    """

    kind = "PostgreSQL"

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        self._url = url.replace("postgresql+psycopg:", "postgresql:", 1)
        self._seconds = seconds
        self.tables()

    def tables(self) -> list[tuple[str, list[str]]]:
        """See `Rows`."""
        found: dict[str, list[str]] = {}
        for schema, table, column, kind in self._rows(_COLUMNS, 5000)[1]:
            name = str(table) if schema == "public" else f"{schema}.{table}"
            found.setdefault(name, []).append(f"{column} {kind}")
        return list(found.items())

    def query(self, sql: str, most: int) -> tuple[list[str], list[Sequence[Any]]]:
        """See `Rows`."""
        if not _READS.match(sql):
            raise UsageError("only reading is allowed: write one SELECT, without a comment before it")
        return self._rows(sql, most)

    def _rows(self, sql: str, most: int) -> tuple[list[str], list[Sequence[Any]]]:
        with self._connected() as connection, connection.cursor() as cursor:
            # Row by row: a query that gives a billion of them is not held here, and is cancelled by closing the stream.
            with closing(cursor.stream(sql)) as stream:
                rows = list(islice(stream, most))
                names = [str(column.name) for column in cursor.description or ()]
            return names, rows

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            import psycopg
        except ImportError:
            raise MissingPackageError(
                "psycopg", "The tool sql with PostgreSQL", "pip install 'whetstone-llm[postgres]'"
            ) from None
        milliseconds = int(self._seconds * 1000)
        try:
            connection = psycopg.connect(
                self._url,
                connect_timeout=max(2, int(self._seconds)),
                options=f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
                application_name="whetstone tool",
            )
        except psycopg.Error as error:
            raise UsageError(f"sql: the database cannot be reached: {_said(error, self._url)}") from None
        try:
            connection.read_only = True
            yield connection
        except psycopg.errors.QueryCanceled:
            raise UsageError(f"the query took longer than {self._seconds:g} s and was stopped: ask for less") from None
        except psycopg.errors.ReadOnlySqlTransaction:
            raise UsageError("only reading is allowed: write one SELECT") from None
        except psycopg.Error as error:
            raise UsageError(f"the database answered: {_said(error, self._url)}") from None
        finally:
            connection.close()  # undoes the transaction


def _said(error: Exception, url: str) -> str:
    """The first line of what the database said, without the password."""
    said = " ".join((str(error).splitlines() or [type(error).__name__])[0].split())
    password = re.search(r"://[^:@/]*:([^@]+)@", url)
    return said.replace(password[1], "***") if password else said
