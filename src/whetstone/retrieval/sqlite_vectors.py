"""Dense search over the vectors in a SQLite file; the codes of one state are kept in memory."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from whetstone.retrieval.document import Filter
from whetstone.retrieval.sqlite_filter import documents_that_pass
from whetstone.retrieval.store import Match
from whetstone.retrieval.vector_index import Ids, VectorIndex


class Vectors:
    """The vectors of whatever state a connection sees. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: tuple[str, int] | None = None
        self._index = VectorIndex.empty(0)

    def search(
        self, connection: sqlite3.Connection, query: npt.NDArray[np.float32], k: int, where: Filter
    ) -> list[Match]:
        """See `Store.dense`."""
        passing, values = documents_that_pass(where)
        condition = f"document IN ({passing})" if where else "1"
        among = None
        if where:
            among = _ids(connection, f"SELECT DISTINCT vector FROM chunks WHERE {condition} ORDER BY vector", values)
        candidates = self.index(connection).candidates(query, k, among)
        cosines = _cosines(connection, query, candidates)
        # A vector may belong to several chunks, but each has one at least: the k best vectors are enough.
        best = sorted(cosines.values(), reverse=True)[:k]
        best_vectors = json.dumps([id_ for id_, cosine in cosines.items() if best and cosine >= best[-1]])
        chunks = connection.execute(
            f"SELECT id, vector FROM chunks WHERE vector IN (SELECT value FROM json_each(?)) AND {condition}",
            (best_vectors, *(values if where else ())),
        )
        matches = [Match(id_, cosines[vector]) for id_, vector in chunks]
        return sorted(matches, key=lambda match: (-match.score, match.id))[:k]

    def of_chunks(self, connection: sqlite3.Connection, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """See `Store.vectors`; a chunk that is gone meanwhile has a vector of zeros."""
        dimension = connection.execute("SELECT dimension FROM header").fetchone()[0]
        found = dict(
            connection.execute(
                "SELECT c.id, v.vector FROM chunks c JOIN vectors v ON v.id = c.vector"
                " WHERE c.id IN (SELECT value FROM json_each(?))",
                (json.dumps([int(id_) for id_ in ids]),),
            )
        )
        nothing = bytes(4 * dimension)
        joined = b"".join(found.get(id_, nothing) for id_ in ids)
        return np.frombuffer(joined, "<f4").reshape(len(ids), dimension).astype(np.float32)

    def index(self, connection: sqlite3.Connection) -> VectorIndex:
        """The codes of the state that the connection sees; only what changed is read."""
        token, state, dimension = connection.execute("SELECT token, state, dimension FROM header").fetchone()
        with self._lock:
            if self._state == (token, state):
                return self._index
            before = self._index
            same = self._state is not None and self._state[0] == token and before.codes.shape[1] == 4 + dimension
            if not same:
                before = VectorIndex.empty(dimension)
            ids = _ids(connection, "SELECT DISTINCT vector FROM chunks ORDER BY vector", ())
            new = ids[~np.isin(ids, before.ids, assume_unique=True)]
            first = int(new[0]) if len(new) else 1 << 62
            rows = connection.execute("SELECT id, code FROM codes WHERE id >= ? ORDER BY id", (first,))
            self._index, self._state = before.changed(ids, rows), (token, state)
            return self._index


def _ids(connection: sqlite3.Connection, query: str, values: Sequence[str]) -> Ids:
    return np.fromiter((id_ for (id_,) in connection.execute(query, values)), np.int64)


def _cosines(connection: sqlite3.Connection, query: npt.NDArray[np.float32], ids: Ids) -> dict[int, float]:
    """Exact cosines, in float64 and one by one: the last bits of a matrix product depend on its shape."""
    rows = connection.execute(
        "SELECT id, vector FROM vectors WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids.tolist()),)
    ).fetchall()
    vectors = np.frombuffer(b"".join(vector for _, vector in rows), "<f4").reshape(len(rows), len(query))
    cosines = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return dict(zip((id_ for id_, _ in rows), cosines.tolist(), strict=True))
