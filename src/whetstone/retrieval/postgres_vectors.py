"""Vectors in PostgreSQL, with pgvector: kept, and searched exactly or through an HNSW index."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from whetstone.retrieval.document import Filter
from whetstone.retrieval.postgres_base import Base, Cursor
from whetstone.retrieval.postgres_filter import documents_that_pass
from whetstone.retrieval.store import Match

INDEX_FROM = 20_000  # vectors; fewer are compared one by one, all of them
MOST_DIMENSIONS = 2000  # that pgvector's HNSW takes; longer vectors are compared one by one
_SELECTIVE = 20_000  # chunks; a filter that lets fewer through is answered by comparing those

_BUILD = "m = 16, ef_construction = 200"
_EF_SEARCH = 400
_TEXT_PRECISION = 9  # digits that tell every float32


def insert_vectors(cursor: Cursor, table: str, hashes: Sequence[bytes], vectors: npt.NDArray[np.float32]) -> set[bytes]:
    """Keep vectors that are not kept yet; the hashes of those that were new."""
    # So that nobody else can add one of them between the question and the answer; readers are not kept out.
    cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    new = set(hashes) - kept(cursor, table, hashes)
    head = np.array([vectors.shape[1], 0], ">i2").tobytes()
    added: set[bytes] = set()
    with cursor.copy(f"COPY {table} (hash, vector) FROM STDIN (FORMAT BINARY)") as copy:
        for hash_, vector in zip(hashes, vectors.astype(">f4"), strict=True):
            if hash_ in new and hash_ not in added:
                added.add(hash_)
                copy.write_row((hash_, head + vector.tobytes()))
    return added


def kept(cursor: Cursor, table: str, hashes: Collection[bytes]) -> set[bytes]:
    """Those of the hashes whose vectors are there."""
    rows = cursor.execute(f"SELECT hash FROM {table} WHERE hash = ANY(%s)", (list(hashes),))
    return {hash_ for (hash_,) in rows}


def bring_index_up_to_date(cursor: Cursor, table: str, dimension: int) -> None:
    """Make the HNSW index once there are vectors enough; PostgreSQL keeps it up to date from then on."""
    if dimension > MOST_DIMENSIONS or has_index(cursor, table):
        return
    count = cursor.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    if count < INDEX_FROM:
        return
    # The whole graph in memory is built several times as fast as one that is written out half way.
    megabytes = min(1024, 64 + count * (4 * dimension + 400) // (1 << 20))
    cursor.execute("SELECT set_config('maintenance_work_mem', %s, true)", (f"{megabytes}MB",))
    cursor.execute(f"CREATE INDEX ON {table} USING hnsw (vector vector_ip_ops) WITH ({_BUILD})")


def has_index(cursor: Cursor, table: str) -> bool:
    """Whether the table has its HNSW index."""
    row = cursor.execute(
        "SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam"
        " WHERE i.indrelid = to_regclass(%s) AND a.amname = 'hnsw' AND i.indisvalid",
        (table,),
    ).fetchone()
    return row is not None


def search(cursor: Cursor, base: Base, query: npt.NDArray[np.float32], k: int, where: Filter) -> list[Match]:
    """See `Store.dense`. The k best vectors are enough: each belongs to one chunk at least."""
    if k <= 0 or not base.chunks:
        return []
    among, reach = "", base.chunks
    values: list[object] = []
    if where:
        passing, reach = documents_that_pass(cursor, base, where)
        among = " AND c.document = ANY(%s)"
        values.append(passing)
    asked = vector_text(query)
    if where and reach <= _SELECTIVE:
        near = (
            f"SELECT v.hash, v.vector <#> %s AS distance FROM {base.vectors} v"
            f" WHERE v.hash IN (SELECT c.hash FROM {base.schema}.chunks c WHERE true{among})"
            " ORDER BY distance LIMIT %s"
        )
        parameters = [asked, *values, k, *values, k]
    elif reach >= INDEX_FROM and has_index(cursor, base.vectors):
        # One step of the index after the other, until k vectors have a chunk that passes.
        cursor.execute(
            "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'strict_order', true),"
            " set_config('hnsw.max_scan_tuples', '2000000000', true), set_config('enable_seqscan', 'off', true),"
            " set_config('enable_sort', 'off', true)",
            (str(min(1000, max(_EF_SEARCH, k))),),
        )
        near = (
            f"SELECT v.hash, v.vector <#> %s AS distance FROM {base.vectors} v WHERE EXISTS"
            f" (SELECT 1 FROM {base.schema}.chunks c WHERE c.hash = v.hash{among}) ORDER BY v.vector <#> %s LIMIT %s"
        )
        parameters = [asked, *values, asked, k, *values, k]
    else:
        # All of them, one by one; those that were staged have no chunk yet, so that many more are taken.
        more = "" if where else f" + (SELECT count(*) FROM {base.schema}.staged)"
        only = f" WHERE EXISTS (SELECT 1 FROM {base.schema}.chunks c WHERE c.hash = v.hash{among})" if where else ""
        near = (
            f"SELECT v.hash, v.vector <#> %s AS distance FROM {base.vectors} v{only}"
            f" ORDER BY (v.vector <#> %s) + 0 LIMIT %s{more}"
        )
        parameters = [asked, *values, asked, k, *values, k]
    rows = cursor.execute(
        f"WITH near AS MATERIALIZED ({near.replace('<#> %s', '<#> %s::vector')})"
        f" SELECT c.id, -near.distance AS score FROM near JOIN {base.schema}.chunks c ON c.hash = near.hash{among}"
        " ORDER BY score DESC, c.id LIMIT %s",
        parameters,
    )
    return [Match(id_, score) for id_, score in rows]


def of_chunks(cursor: Cursor, base: Base, ids: Sequence[int]) -> npt.NDArray[np.float32]:
    """See `Store.vectors`; a chunk that is gone meanwhile has a vector of zeros."""
    rows = cursor.execute(
        f"SELECT c.id, vector_send(v.vector) FROM {base.schema}.chunks c JOIN {base.vectors} v ON v.hash = c.hash"
        " WHERE c.id = ANY(%s)",
        (list(map(int, ids)),),
    )
    found = {id_: np.frombuffer(sent, ">f4", offset=4) for id_, sent in rows}
    vectors = np.zeros((len(ids), base.header.dimension), np.float32)
    for row, id_ in enumerate(ids):
        if id_ in found:
            vectors[row] = found[id_]
    return vectors


def vector_text(vector: npt.NDArray[np.float32]) -> str:
    """A vector as pgvector reads it, without loss."""
    return f"[{','.join(f'{value:.{_TEXT_PRECISION}g}' for value in vector.tolist())}]"
