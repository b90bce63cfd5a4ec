"""Keyword search in SQLite's FTS5, by BM25, over the terms of `terms`.

Scoring a chunk takes FTS5 about 1.5 µs for each term, reading an entry of its index 0.05 µs. A question of common words
would score most of a large knowledge base, so a few of its terms choose the chunks and the others add to their scores.
Measured at 200,000 chunks of 110 words each (synthetic, with Zipf's distribution; 2 cores), eight words taken from a
chunk as they come, 4 of them in more than a tenth of all chunks: 30 ms instead of 280, 0.987 of the ten best that BM25
over all terms finds, 0.974 of the fifty best; without the words in more than a tenth: 10 ms, 1.000 and 0.993.
"""

from __future__ import annotations

import bisect
import itertools
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence

from whetstone.retrieval import terms
from whetstone.retrieval.document import Chunk
from whetstone.retrieval.sqlite_passing import Passing
from whetstone.retrieval.sqlite_rows import CHUNK, chunk_of
from whetstone.retrieval.store import Match

_MOST_TERMS = 64  # of a question are looked for: the rarest
_MOST_SCORED = 8_000  # chunks, counted once for each term that they hold
_MOST_READ = 300_000  # entries of the index, of terms that only add to a score
_MOST_COUNTS = 100_000  # terms whose counts are remembered


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


class Frequencies:
    """In how many chunks terms stand, remembered for one state. Safe to use from several threads.

    FTS5 walks the whole list of a term to tell: 3 ms for eight words at 50,000 chunks. Common words, whose lists are
    long, come back in the next question.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: object = None
        self._counts: dict[str, int] = {}

    def of(self, connection: sqlite3.Connection, asked: Sequence[str]) -> list[int]:
        """Counts of the state that the connection sees."""
        state = connection.execute("SELECT token, state, terms FROM header").fetchone()
        with self._lock:
            if self._state != state or len(self._counts) > _MOST_COUNTS:
                self._state, self._counts = state, {}
            counts = self._counts
        for term in asked:
            if term not in counts:
                row = connection.execute("SELECT doc FROM keyword_terms WHERE term = ?", (term,)).fetchone()
                counts[term] = row[0] if row else 0
        return [counts[term] for term in asked]


def search(connection: sqlite3.Connection, asked: Mapping[str, int], k: int, among: Passing | None) -> list[Match]:
    """See `Store.keyword`.

    Args:
        asked: in how many chunks each term stands; terms as `terms.query_terms` gives them.
        k: most chunks.
        among: what may be found; None for everything.
    """
    known = sorted((term for term in asked if asked[term]), key=lambda term: asked[term])[:_MOST_TERMS]
    if not known or k <= 0:
        return []
    if among is None:
        passing = int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
    else:
        passing = among.chunks
        connection.create_function("passes", 1, among.__contains__)
    needed, helpful = (known, []) if passing <= _MOST_SCORED else _chosen(known, asked, passing)
    scores = _scores(connection, _any(needed), 4 * _MOST_SCORED, k, among)
    if helpful:
        # All that holds a needed term has its whole score now: what is not in this list holds no helpful one.
        both = f"({_any(needed)}) AND ({_any(helpful)})"
        scores |= _scores(connection, both, 4 * _MOST_SCORED, k, among)
    if len(scores) < k and needed != known:
        scores |= _scores(connection, _any(known), _MOST_SCORED, k, among)
    return sorted((Match(*pair) for pair in scores.items()), key=lambda match: (-match.score, match.id))[:k]


def _chosen(known: list[str], counts: Mapping[str, int], total: int) -> tuple[list[str], list[str]]:
    """The terms of which a chunk needs one to be found, and those that only add to its score.

    As in MaxScore (Turtle and Flood 1995): what holds common terms only is rarely among the best.

    Args:
        known: the rarest first.
        counts: in how many chunks each stands.
        total: how many chunks there are; BM25 gives nothing for what stands in more than half of them.
    """
    telling = [term for term in known if counts[term] * 2 <= total] or known[:1]
    scored = list(itertools.accumulate(counts[term] for term in telling))
    needed = max(1, bisect.bisect_right(scored, _MOST_SCORED))
    read = list(itertools.accumulate(counts[term] for term in telling[needed:]))
    return telling[:needed], telling[needed : needed + bisect.bisect_right(read, _MOST_READ)]


def _scores(
    connection: sqlite3.Connection, expression: str, most_scored: int, k: int, among: Passing | None
) -> dict[int, float]:
    """The `k` best of the first `most_scored` chunks that an expression finds."""
    rows = connection.execute(
        "SELECT id, score FROM (SELECT rowid AS id, -bm25(keyword) AS score FROM keyword WHERE keyword MATCH ?"
        f" {'' if among is None else 'AND passes(rowid)'} LIMIT ?) ORDER BY score DESC, id LIMIT ?",
        (expression, most_scored, k),
    )
    return dict(rows.fetchall())


def _any(asked: Sequence[str]) -> str:
    return " OR ".join(f'"{term}"' for term in asked)


def lengths(connection: sqlite3.Connection) -> dict[int, int]:
    """How many terms the index holds of each chunk."""
    return {id_: _number(size) for id_, size in connection.execute("SELECT id, sz FROM keyword_docsize ORDER BY id")}


def _number(packed: bytes) -> int:
    """A number as FTS5 packs it: 7 bits a byte, the highest first."""
    number = 0
    for byte in packed:
        number = number << 7 | byte & 127
    return number


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
