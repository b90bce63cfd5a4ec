"""Dense search over the vectors in a SQLite file; the codes of one state are kept in memory."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from whetstone.errors import StorageError
from whetstone.retrieval import sqlite_codes
from whetstone.retrieval.sqlite_passing import Passing
from whetstone.retrieval.store import Match
from whetstone.retrieval.vector_index import Ids, VectorIndex


class Vectors:
    """The vectors of whatever state a connection sees. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._packing: list[object] = []  # while it stays the same, an id names the same vector
        self._state = -1
        self._index = VectorIndex.empty(0)

    def search(
        self, connection: sqlite3.Connection, query: npt.NDArray[np.float32], k: int, among: Passing | None
    ) -> list[Match]:
        """See `Store.dense`; `among` holds what may be found, None for everything."""
        candidates = self.index(connection).candidates(query, k, None if among is None else among.vectors)
        cosines = _cosines(connection, query, candidates)
        # A vector may belong to several chunks, but each has one at least: the k best vectors are enough.
        best = sorted(cosines.values(), reverse=True)[:k]
        best_vectors = json.dumps([id_ for id_, cosine in cosines.items() if best and cosine >= best[-1]])
        chunks = connection.execute(
            "SELECT id, vector FROM chunks WHERE vector IN (SELECT value FROM json_each(?))", (best_vectors,)
        )
        matches = [Match(id_, cosines[vector]) for id_, vector in chunks if among is None or id_ in among]
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
        return _matrix([found.get(id_, nothing) for id_ in ids], dimension)

    def index(self, connection: sqlite3.Connection) -> VectorIndex:
        """The codes of the state that the connection sees; only what changed is read."""
        header = "SELECT token, packing, dimension, state, last_vector FROM header"
        *packing, state, last = connection.execute(header).fetchone()
        with self._lock:
            if (self._packing, self._state) != (packing, state):
                before = self._index if self._packing == packing else VectorIndex.empty(packing[-1])
                after = int(before.ids[-1]) if len(before.ids) else 0
                try:
                    new = sqlite_codes.read(connection, after, last, packing[-1])
                except ValueError as error:
                    raise StorageError(
                        f"The codes of the vectors are damaged ({error}): `whet kb sync --rebuild` makes all anew"
                    ) from error
                self._index = before.changed(sqlite_codes.dropped(connection), *new)
                self._packing, self._state = packing, state
            return self._index


def _cosines(connection: sqlite3.Connection, query: npt.NDArray[np.float32], ids: Ids) -> dict[int, float]:
    """Exact cosines, in float64 and one by one: the last bits of a matrix product depend on its shape."""
    rows = connection.execute(
        "SELECT id, vector FROM vectors WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids.tolist()),)
    ).fetchall()
    vectors = _matrix([vector for _, vector in rows], len(query))
    cosines = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return dict(zip((id_ for id_, _ in rows), cosines.tolist(), strict=True))


def _matrix(vectors: Sequence[bytes], dimension: int) -> npt.NDArray[np.float32]:
    if any(len(vector) != 4 * dimension for vector in vectors):
        raise StorageError(
            f"The knowledge base holds a vector that has not {dimension} dimensions: `whet kb fsck` says which,"
            " `whet kb sync --rebuild` makes all anew"
        )
    return np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), dimension).astype(np.float32)
