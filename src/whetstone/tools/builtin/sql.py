"""Questions to a database, which cannot change it: the tool `sql_query`, for SQLite files and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from whetstone.errors import UsageError
from whetstone.tools.function_tool import FunctionTool
from whetstone.tools.tool import ToolResult

MOST_ROWS = 50
"""Of an answer."""
SECONDS = 10.0
"""Of one query."""
_MOST_CELL = 300  # characters
_MOST_DESCRIBED = 2_000  # characters of the tables in the tool's description


class Rows(Protocol):
    """A database that can be asked and not changed."""

    @property
    def kind(self) -> str:
        """Which SQL it speaks."""
        ...

    def tables(self) -> list[tuple[str, list[str]]]:
        """Each table or view, with its columns as "name TYPE"."""
        ...

    def query(self, sql: str, most: int) -> tuple[list[str], list[Sequence[Any]]]:
        """The names of the columns, and at most `most` rows.

        Raises:
            UsageError: the query cannot be answered; the sentence says why.
        """
        ...


def sql_tool(argument: str) -> FunctionTool:
    """The tool `sql:FILE` or `sql:postgresql://…`.

    Raises:
        UsageError: the database cannot be opened.
        MissingPackageError: PostgreSQL needs a package.
    """
    rows = _opened(argument)

    def sql_query(query: str) -> ToolResult:
        """Asks a database, and gives the rows.

        Args:
            query: one SELECT.
        """
        return answer(rows, query)

    described = f"Asks a {rows.kind} database with one SELECT statement, and gives the rows. {_described(rows)}"
    return FunctionTool(sql_query, description=described)


def answer(rows: Rows, query: str) -> ToolResult:
    """The rows of a query as lines, values separated by " | ".

    Raises:
        UsageError: the query cannot be answered.
    """
    names, found = rows.query(query, MOST_ROWS + 1)
    if not names:
        return ToolResult("the statement gives no rows", note="no rows")
    lines = [" | ".join(names), *(" | ".join(map(_cell, row)) for row in found[:MOST_ROWS])]
    if len(found) > MOST_ROWS:
        lines.append(f"[cut: there are more than {MOST_ROWS} rows; ask for fewer, or count and sum in the query]")
    elif not found:
        lines.append("(no rows)")
    more = "more than " if len(found) > MOST_ROWS else ""
    return ToolResult("\n".join(lines), note=f"{more}{min(len(found), MOST_ROWS)} rows")


def _opened(argument: str) -> Rows:
    if not argument.strip():
        raise UsageError("sql: write sql:FILE.db for SQLite, or sql:postgresql://USER@HOST/DATABASE")
    if argument.startswith(("postgresql:", "postgres:", "postgresql+psycopg:")):
        from whetstone.tools.builtin.sql_postgres import PostgresRows

        return PostgresRows(argument)
    from whetstone.tools.builtin.sql_sqlite import SqliteRows

    return SqliteRows(Path(argument.removeprefix("sqlite:///")).expanduser())


def _described(rows: Rows) -> str:
    """The tables, as far as a description has room for them."""
    tables = [f"{name}({', '.join(columns)})" for name, columns in rows.tables()]
    if not tables:
        return "It has no tables."
    told = f"Tables: {tables[0][:_MOST_DESCRIBED]}"
    for number, table in enumerate(tables[1:], start=1):
        if len(told) + len(table) > _MOST_DESCRIBED:
            return f"{told}; and {len(tables) - number} more"
        told += f"; {table}"
    return told


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value):,} bytes)"
    text = " ".join(str(value).split())
    return text if len(text) <= _MOST_CELL else f"{text[:_MOST_CELL]}… ({len(text):,} characters)"
