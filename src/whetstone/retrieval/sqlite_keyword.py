"""Keyword search in SQLite's FTS5, by BM25, over the terms of `terms`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from whetstone.retrieval import terms
from whetstone.retrieval.document import Chunk, Filter
from whetstone.retrieval.sqlite_filter import documents_that_pass
from whetstone.retrieval.sqlite_rows import CHUNK, chunk_of
from whetstone.retrieval.store import Match

_MOST_TERMS = 64  # of a question are looked for: the rarest


def index_chunks(connection: sqlite3.Connection, chunks: Iterable[tuple[int, Chunk]]) -> None:
    """Put chunks into the index, by their ids."""
    connection.executemany(
        "INSERT INTO keyword (rowid, terms) VALUES (?, ?)", ((id_, _terms(chunk)) for id_, chunk in chunks)
    )


def forget_chunks(connection: sqlite3.Connection, chunks: Iterable[tuple[int, Chunk]]) -> None:
    """Take chunks out of the index, which must be told what they said."""
    connection.executemany(
        "INSERT INTO keyword (keyword, rowid, terms) VALUES ('delete', ?, ?)",
        ((id_, _terms(chunk)) for id_, chunk in chunks),
    )


def frequencies(connection: sqlite3.Connection, asked: Sequence[str]) -> list[int]:
    """In how many chunks each term stands."""
    return [
        row[0] if (row := connection.execute("SELECT doc FROM keyword_terms WHERE term = ?", (term,)).fetchone()) else 0
        for term in asked
    ]


def search(connection: sqlite3.Connection, asked: Sequence[str], k: int, where: Filter) -> list[Match]:
    """See `Store.keyword`, for terms as `terms.query_terms` gives them."""
    counts = dict(zip(asked, frequencies(connection, asked), strict=True))
    found = sorted((term for term in asked if counts[term]), key=lambda term: counts[term])[:_MOST_TERMS]
    if not found or k <= 0:
        return []
    passing, values = documents_that_pass(where)
    # With a plus, as SQLite would search anew for each id otherwise.
    condition = f" AND +rowid IN (SELECT id FROM chunks WHERE document IN ({passing}))" if where else ""
    rows = connection.execute(
        f"SELECT rowid, -bm25(keyword) AS score FROM keyword WHERE keyword MATCH ?{condition}"
        " ORDER BY score DESC, rowid LIMIT ?",
        (" OR ".join(f'"{term}"' for term in found), *(values if where else ()), k),
    )
    return [Match(id_, score) for id_, score in rows]


def is_outdated(connection: sqlite3.Connection) -> bool:
    """Whether the index was written by another version of `terms`."""
    row = connection.execute("SELECT terms FROM header").fetchone()
    return row is not None and row[0] != terms.VERSION


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Write the index anew if another version of `terms` wrote it."""
    if is_outdated(connection):
        connection.execute("INSERT INTO keyword (keyword) VALUES ('delete-all')")
        rows = connection.execute(f"SELECT id, {CHUNK} FROM chunks ORDER BY id")
        index_chunks(connection, ((id_, chunk_of(columns)) for id_, *columns in rows))
        connection.execute("UPDATE header SET terms = ?", (terms.VERSION,))


def _terms(chunk: Chunk) -> str:
    return " ".join(terms.index_terms(chunk.shown))
