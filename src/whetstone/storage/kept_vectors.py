"""Arrays kept on disk under the digest of what they were computed from: one SQLite file for each way of computing."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from whetstone import settings
from whetstone.errors import StorageError

Vector = npt.NDArray[np.float32]

_LOOK_UP_AT_ONCE = 500  # SQLite allows 999 parameters in its oldest form


class KeptVectors:
    """An open file of vectors; see `opened`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """The vectors of a file, which is made where there is none. Several processes may have it open.

        Raises:
            StorageError: it cannot be read or written; also where this happens inside the block.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=30)) as database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
                yield cls(database)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{path}: {error}; this cache of vectors may be deleted at any time") from error

    def look_up(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Vector]]:
        """`(key, vector)` for those keys that are there."""
        for start in range(0, len(keys), _LOOK_UP_AT_ONCE):
            part = keys[start : start + _LOOK_UP_AT_ONCE]
            marks = ",".join("?" * len(part))
            found = self._database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)
            for key, vector in found:
                yield key, np.frombuffer(vector, dtype="<f4")

    def keep(self, rows: Iterable[tuple[bytes, Vector]]) -> None:
        """Add vectors, all at once: after a kill they are all there, or none is."""
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                [(key, vector.astype("<f4").tobytes()) for key, vector in rows],
            )


def cache_file(kind: str, name: str) -> Path:
    """The file of one way of computing, under `WHETSTONE_HOME/cache/<kind>`."""
    return settings.home() / "cache" / kind / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.sqlite"
