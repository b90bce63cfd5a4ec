"""The chunks that a filter lets pass, remembered for the filters asked last."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whetstone.retrieval.document import Filter
from whetstone.retrieval.sqlite_filter import documents_that_pass

_KEPT = 8


@dataclass(frozen=True)
class Passing:
    """What passes a filter in one state.

    Attributes:
        chunks: how many.
        vectors: ids of their vectors, ascending.
        flags: for each chunk id up to the last one that passes, 1 if it does; 0 otherwise.
    """

    chunks: int
    vectors: npt.NDArray[np.int64]
    flags: bytes

    def __contains__(self, chunk: int) -> bool:
        return chunk < len(self.flags) and self.flags[chunk] == 1


class Filters:
    """What passes the filters asked last. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[object, ...], Passing] = OrderedDict()

    def passing(self, connection: sqlite3.Connection, where: Filter) -> Passing:
        """What passes in the state that the connection sees; finding it anew takes 1 µs for each chunk that does."""
        state = connection.execute("SELECT token, state FROM header").fetchone()
        key = (*state, where.path, *sorted(where.metadata.items()))
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        documents, values = documents_that_pass(where)
        rows = connection.execute(f"SELECT id, vector FROM chunks WHERE document IN ({documents})", values).fetchall()
        pairs = np.array(rows, np.int64).reshape(-1, 2)
        flags = np.zeros(pairs[:, 0].max(initial=-1) + 1, np.uint8)
        flags[pairs[:, 0]] = 1
        found = Passing(len(pairs), np.unique(pairs[:, 1]), flags.tobytes())
        with self._lock:
            self._found[key] = found
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found
