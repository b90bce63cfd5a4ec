"""Everything in a knowledge base on PostgreSQL that contradicts itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from whetstone.retrieval import terms
from whetstone.retrieval.document import Chunk
from whetstone.retrieval.postgres_base import Base, Cursor
from whetstone.retrieval.postgres_rows import CHUNK, chunk_of
from whetstone.retrieval.postgres_vectors import INDEX_FROM, MOST_DIMENSIONS, has_index
from whetstone.retrieval.store import Fault
from whetstone.storage.columns import unescaped

_AT_ONCE = 1000  # chunks whose texts are in memory


def faults_of(cursor: Cursor, base: Base) -> Iterator[Fault]:
    """The faults of one state. Reads every text and every vector."""
    cursor.execute("SELECT set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true)")
    yield from _documents(cursor, base)
    yield from _vectors(cursor, base)
    yield from _texts(cursor, base)
    if base.terms == terms.VERSION:  # an older index is written anew before it is used
        yield from _keyword_index(cursor, base)
    count, length = cursor.execute(f"SELECT count(*), coalesce(sum(length), 0) FROM {base.schema}.chunks").fetchone()
    if (count, length) != (base.chunks, base.length):
        detail = f"the header counts {base.chunks} chunks of {base.length} terms, but there are {count} of {length}"
        yield Fault("keyword index", "header", detail)


def _documents(cursor: Cursor, base: Base) -> Iterator[Fault]:
    rows = cursor.execute(
        f"SELECT d.path, d.chunks, coalesce(array_agg(c.ordinal) FILTER (WHERE c.id IS NOT NULL), '{{}}')"
        f" FROM {base.schema}.documents d LEFT JOIN {base.schema}.chunks c ON c.document = d.id"
        " GROUP BY d.id HAVING count(c.id) <> d.chunks OR count(DISTINCT c.ordinal) <> d.chunks"
        " OR max(c.ordinal) >= d.chunks ORDER BY d.path"
    ).fetchall()
    for path, expected, ordinals in rows:
        found = Counter(ordinals)
        for ordinal in range(expected):
            if not found.pop(ordinal, 0):
                detail = f"chunk {ordinal} of {expected} is not there"
                yield Fault("missing chunk", unescaped(path), detail)
        for ordinal in sorted(found):
            yield Fault("orphan chunk", unescaped(path), f"there is a chunk {ordinal}, though it has only {expected}")
    rows = cursor.execute(
        f"SELECT c.id, c.document FROM {base.schema}.chunks c"
        f" WHERE NOT EXISTS (SELECT 1 FROM {base.schema}.documents d WHERE d.id = c.document) ORDER BY c.id"
    ).fetchall()
    for id_, document in rows:
        yield Fault("orphan chunk", f"chunk {id_}", f"it belongs to document {document}, which is not there")


def _vectors(cursor: Cursor, base: Base) -> Iterator[Fault]:
    rows = cursor.execute(
        f"SELECT c.id, d.path FROM {base.schema}.chunks c LEFT JOIN {base.schema}.documents d ON d.id = c.document"
        f" WHERE NOT EXISTS (SELECT 1 FROM {base.vectors} v WHERE v.hash = c.hash) ORDER BY c.id"
    ).fetchall()
    for id_, path in rows:
        yield Fault("missing vector", unescaped(path or ""), f"chunk {id_} has no vector")
    rows = cursor.execute(
        f"SELECT encode(v.hash, 'hex') FROM {base.vectors} v"
        f" WHERE NOT EXISTS (SELECT 1 FROM {base.schema}.chunks c WHERE c.hash = v.hash)"
        f" AND NOT EXISTS (SELECT 1 FROM {base.schema}.staged s WHERE s.hash = v.hash) ORDER BY 1"
    ).fetchall()
    for (hash_,) in rows:
        yield Fault("orphan vector", f"vector {hash_}", "no chunk needs it")
    rows = cursor.execute(
        f"SELECT encode(hash, 'hex'), vector_dims(vector), vector_norm(vector) FROM {base.vectors}"
        " WHERE vector_dims(vector) <> %s OR NOT abs(vector_norm(vector) - 1) <= 0.001 ORDER BY 1",
        (base.header.dimension,),
    ).fetchall()
    for hash_, dimension, length in rows:
        if dimension != base.header.dimension:
            detail = f"it has {dimension} dimensions, not {base.header.dimension}"
            yield Fault("wrong dimension", f"vector {hash_}", detail)
        else:
            yield Fault("stale vector", f"vector {hash_}", f"it has length {length:.4g}, not 1: no embedder gave it")
    if base.chunks >= INDEX_FROM and base.header.dimension <= MOST_DIMENSIONS and not has_index(cursor, base.vectors):
        count = cursor.execute(f"SELECT count(*) FROM {base.vectors}").fetchone()[0]
        if count >= INDEX_FROM:
            yield Fault("vector index", base.vectors, f"{count} vectors have no HNSW index: searching them is slow")


def _texts(cursor: Cursor, base: Base) -> Iterator[Fault]:
    for chunks in _pages(cursor, base):
        for id_, (path, hash_, chunk) in chunks.items():
            if chunk.hash != hash_:
                detail = f"the vector of chunk {id_} is not of the text that it has now"
                yield Fault("stale vector", path, detail)


def _keyword_index(cursor: Cursor, base: Base) -> Iterator[Fault]:
    for chunks in _pages(cursor, base):
        rows = cursor.execute(
            f"SELECT p.chunk, t.term, p.count, p.length FROM {base.schema}.chunks c, unnest(c.terms) AS n (term)"
            f" JOIN {base.schema}.postings p ON p.term = n.term JOIN {base.schema}.terms t ON t.id = p.term"
            " WHERE c.id = ANY(%s) AND p.chunk = c.id",
            (list(chunks),),
        )
        indexed: dict[int, dict[str, tuple[int, int]]] = {id_: {} for id_ in chunks}
        for id_, term, count, length in rows:
            indexed[id_][term] = (count, length)
        for id_, (path, _, chunk) in chunks.items():
            counts = Counter(terms.index_terms(chunk.shown))
            expected = {term: (count, counts.total()) for term, count in counts.items()}
            if indexed[id_] != expected:
                differ = sorted({term for term, _ in indexed[id_].items() ^ expected.items()})
                detail = f"chunk {id_} is not indexed as it reads: {', '.join(differ[:3])}"
                yield Fault("keyword index", path, detail)
    rows = cursor.execute(
        f"SELECT p.chunk, count(*) FROM {base.schema}.postings p LEFT JOIN {base.schema}.chunks c ON c.id = p.chunk"
        " GROUP BY p.chunk, c.id, c.terms"
        " HAVING c.id IS NULL OR count(*) FILTER (WHERE p.term = ANY(c.terms)) <> count(*)"
        " ORDER BY 1"
    ).fetchall()
    for id_, count in rows:
        yield Fault("keyword index", f"chunk {id_}", f"{count} terms lead to it, some of which it does not have")
    rows = cursor.execute(
        f"SELECT t.term, t.chunks, coalesce(p.chunks, 0) FROM {base.schema}.terms t"
        f" LEFT JOIN (SELECT term, count(*) AS chunks FROM {base.schema}.postings GROUP BY term) p ON p.term = t.id"
        " WHERE t.chunks <> coalesce(p.chunks, 0) ORDER BY 1"
    ).fetchall()
    for term, counted, found in rows:
        yield Fault("keyword index", f"term {term}", f"it should stand in {counted} chunks, and stands in {found}")


def _pages(cursor: Cursor, base: Base) -> Iterator[dict[int, tuple[str, bytes, Chunk]]]:
    """All chunks by their ids: path of the document, hash that leads to the vector, chunk."""
    last = 0
    while True:
        rows = cursor.execute(
            f"SELECT c.id, d.path, c.hash, {CHUNK} FROM {base.schema}.chunks c"
            f" LEFT JOIN {base.schema}.documents d ON d.id = c.document WHERE c.id > %s ORDER BY c.id LIMIT %s",
            (last, _AT_ONCE),
        ).fetchall()
        if not rows:
            return
        yield {id_: (unescaped(path or ""), hash_, chunk_of(columns)) for id_, path, hash_, *columns in rows}
        last = rows[-1][0]
