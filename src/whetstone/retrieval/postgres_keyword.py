"""Keyword search in PostgreSQL by BM25, with the terms and the formula of the SQLite store.

PostgreSQL's own ranking (ts_rank) knows nothing of how rare a word is, and its tsvector has no counts that a query
could add up. So there is a table of postings, (term, chunk) -> how often, and in how long a chunk, which an index alone
answers. Robertson & Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond", as SQLite's FTS5 has it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from whetstone.retrieval import terms
from whetstone.retrieval.document import Chunk, Filter
from whetstone.retrieval.postgres_base import Base, Cursor
from whetstone.retrieval.postgres_filter import documents_that_pass
from whetstone.retrieval.postgres_rows import CHUNK, chunk_of
from whetstone.retrieval.store import Match

_K1, _B = 1.2, 0.75
_LEAST_WEIGHT = 1e-6  # of a term that most chunks hold
_MOST_TERMS = 64  # of a question are looked for: the rarest
_AT_ONCE = 2000  # chunks


class Writer:
    """Puts chunks into the index, and takes them out, within one transaction.

    Args:
        cursor: of the transaction.
        base: the knowledge base.
    """

    def __init__(self, cursor: Cursor, base: Base) -> None:
        self._cursor = cursor
        self._schema = base.schema
        self._ids: dict[str, int] = {}
        self._changes: Counter[int] = Counter()  # term -> chunks more, or fewer

    def counted(self, chunks: Sequence[Chunk]) -> list[dict[int, int]]:
        """Of each chunk, the numbers of its terms in ascending order, and how often each stands there."""
        counts = [Counter(terms.index_terms(chunk.shown)) for chunk in chunks]
        self._number({term for one in counts for term in one})
        return [dict(sorted((self._ids[term], times) for term, times in one.items())) for one in counts]

    def add(self, chunks: Iterable[tuple[int, dict[int, int]]]) -> None:
        """Put chunks into the index: their ids, and what `counted` said of them."""
        with self._cursor.copy(f"COPY {self._schema}.postings (term, chunk, count, length) FROM STDIN") as copy:
            for id_, counts in chunks:
                length = sum(counts.values())
                self._changes.update(counts.keys())
                for term, count in counts.items():
                    copy.write_row((term, id_, count, length))

    def remove(self, chunks: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Take chunks out of the index: their ids, and the numbers of their terms."""
        for _, numbers in chunks:
            self._changes.subtract(numbers)
        self._cursor.execute(
            f"DELETE FROM {self._schema}.postings p USING unnest(%s::int[], %s::bigint[]) AS gone (term, chunk)"
            " WHERE p.term = gone.term AND p.chunk = gone.chunk",
            (
                [number for _, numbers in chunks for number in numbers],
                [id_ for id_, numbers in chunks for _ in numbers],
            ),
        )

    def finish(self) -> None:
        """Write down in how many chunks each term stands now."""
        changes = {term: change for term, change in self._changes.items() if change}
        self._cursor.execute(
            f"UPDATE {self._schema}.terms t SET chunks = t.chunks + c.change"
            " FROM unnest(%s::int[], %s::int[]) AS c (id, change) WHERE t.id = c.id",
            (list(changes), list(changes.values())),
        )

    def _number(self, wanted: set[str]) -> None:
        missing = [term for term in wanted if term not in self._ids]
        if not missing:
            return
        asked = f"SELECT term, id FROM {self._schema}.terms WHERE term = ANY(%s)"
        self._ids.update(self._cursor.execute(asked, (missing,)).fetchall())
        new = sorted(term for term in missing if term not in self._ids)
        added = f"INSERT INTO {self._schema}.terms (term) SELECT unnest(%s::text[]) RETURNING term, id"
        self._ids.update(self._cursor.execute(added, (new,)).fetchall())


def bring_up_to_date(cursor: Cursor, base: Base) -> None:
    """Write the index anew if another version of `terms` wrote it."""
    if base.terms == terms.VERSION:
        return
    cursor.execute(f"TRUNCATE {base.schema}.postings, {base.schema}.terms")
    writer = Writer(cursor, base)
    ids = [id_ for (id_,) in cursor.execute(f"SELECT id FROM {base.schema}.chunks ORDER BY id")]
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        rows = cursor.execute(f"SELECT c.id, {CHUNK} FROM {base.schema}.chunks c WHERE c.id = ANY(%s)", (part,))
        chunks = {row[0]: chunk_of(row[1:]) for row in rows}
        counted = writer.counted(list(chunks.values()))
        writer.add(zip(chunks, counted, strict=True))
        cursor.execute(
            f"UPDATE {base.schema}.chunks c SET terms = n.terms::int[], length = n.length"
            " FROM unnest(%s::bigint[], %s::text[], %s::int[]) AS n (id, terms, length) WHERE c.id = n.id",
            (list(chunks), [array_text(one) for one in counted], [sum(one.values()) for one in counted]),
        )
    writer.finish()
    cursor.execute(
        "UPDATE whetstone_knowledge.bases SET terms = %s,"
        f" length = (SELECT coalesce(sum(length), 0) FROM {base.schema}.chunks) WHERE id = %s",
        (terms.VERSION, base.id),
    )


def array_text(numbers: Iterable[int]) -> str:
    """Numbers as PostgreSQL writes an array."""
    return f"{{{','.join(map(str, numbers))}}}"


def frequencies(cursor: Cursor, base: Base, asked: Sequence[str]) -> list[int]:
    """In how many chunks each term stands."""
    known = _known(cursor, base, asked)
    return [known[term][1] if term in known else 0 for term in asked]


def search(cursor: Cursor, base: Base, asked: Sequence[str], k: int, where: Filter) -> list[Match]:
    """See `Store.keyword`, for terms as `terms.query_terms` gives them."""
    known = {term: found for term, found in _known(cursor, base, asked).items() if found[1] > 0}
    # The rarest, in the order of the question where they are equally rare: as the SQLite store does.
    wanted = sorted((term for term in asked if term in known), key=lambda term: known[term][1])[:_MOST_TERMS]
    if not wanted or k <= 0:
        return []
    numbers = [known[term][0] for term in wanted]
    weights = [(_K1 + 1) * _weight(base.chunks, known[term][1]) for term in wanted]
    condition, values = "", []
    if where:
        # As a constant, which PostgreSQL looks up by hash: 5 times as fast as asking the table for each posting.
        passing, _ = documents_that_pass(cursor, base, where)
        ids = cursor.execute(f"SELECT id FROM {base.schema}.chunks WHERE document = ANY(%s)", (passing,))
        condition = " AND p.chunk = ANY(%s::bigint[])"
        values.append([id_ for (id_,) in ids])
    # All in float8: a number without its type would be numeric, and take most of the time.
    short, long = _K1 * (1 - _B), _K1 * _B * base.chunks / base.length
    rows = cursor.execute(
        "SELECT p.chunk, sum(a.weight * p.count / (p.count + %s::float8 + %s::float8 * p.length)) AS score"
        f" FROM unnest(%s::int[], %s::float8[]) AS a (term, weight) JOIN {base.schema}.postings p"
        f" ON p.term = a.term{condition} GROUP BY p.chunk ORDER BY score DESC, p.chunk LIMIT %s",
        (short, long, numbers, weights, *values, k),
    )
    return [Match(id_, score) for id_, score in rows]


def _weight(chunks: int, holding: int) -> float:
    """Inverse document frequency."""
    weight = math.log((chunks - holding + 0.5) / (holding + 0.5))
    return weight if weight > 0 else _LEAST_WEIGHT


def _known(cursor: Cursor, base: Base, asked: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Number and frequency of those terms that the index has ever seen."""
    rows = cursor.execute(f"SELECT term, id, chunks FROM {base.schema}.terms WHERE term = ANY(%s)", (list(asked),))
    return {term: (id_, chunks) for term, id_, chunks in rows}
