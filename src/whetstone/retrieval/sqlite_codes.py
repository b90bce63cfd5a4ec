"""The codes of the vectors, in packs: read five times as fast as a row for each would be.

A pack holds the codes of vectors that came together. What is dropped stays in its pack and is noted beside it, until
the packs are written anew, which happens when a quarter of them was dropped, or too many of them are small.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from whetstone.retrieval.vector_index import Codes, Ids, encoded

_FULL = 4096  # vectors that a pack may begin with, 1.6 MB with 384 dimensions
_SMALL = 64  # packs beyond those that full ones would be; each costs 20 µs when all are read


def pack(connection: sqlite3.Connection, ids: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
    """Keep the codes of new vectors, whose ids ascend and are higher than all others."""
    for start in range(0, len(ids), _FULL):
        part = slice(start, start + _FULL)
        _insert(connection, np.array(ids[part], np.int64), encoded(vectors[part]))


def drop(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Note that vectors are gone."""
    connection.executemany("INSERT INTO dropped_codes (id) VALUES (?)", ((id_,) for id_ in ids))
    packs, total = connection.execute("SELECT count(*), coalesce(sum(count), 0) FROM packs").fetchone()
    dropped = connection.execute("SELECT count(*) FROM dropped_codes").fetchone()[0]
    if dropped * 4 > total or packs > _SMALL + 2 * total // _FULL:
        _repack(connection)


def dropped(connection: sqlite3.Connection) -> Ids:
    """Ids that are in the packs no more."""
    return np.array([id_ for (id_,) in connection.execute("SELECT id FROM dropped_codes")], np.int64)


def read(connection: sqlite3.Connection, after: int, last: int, dimension: int) -> tuple[Ids, Codes]:
    """Ids, ascending, and codes of the vectors from `after` (without it) to `last`.

    Raises:
        ValueError: a pack is damaged.
    """
    total = connection.execute("SELECT coalesce(sum(count), 0) FROM packs WHERE last > ?", (after,)).fetchone()[0]
    ids, codes = np.empty(total, np.int64), np.empty((total, 4 + dimension), np.int8)
    at = 0
    for part_ids, part_codes in _packs(connection, "last > ?", after):
        if part_codes.shape[1] != codes.shape[1]:
            raise ValueError(f"of {part_codes.shape[1]} bytes, not {codes.shape[1]}")
        ids[at : at + len(part_ids)] = part_ids
        codes[at : at + len(part_ids)] = part_codes
        at += len(part_ids)
    wanted = (ids > after) & (ids <= last) & ~np.isin(ids, dropped(connection), assume_unique=True)
    return (ids, codes) if wanted.all() else (ids[wanted], codes[wanted])


def known(connection: sqlite3.Connection, after: int) -> Ids:
    """Ids of the vectors from `after` (without it) that have a code."""
    rows = connection.execute("SELECT ids FROM packs WHERE last > ?", (after,)).fetchall()
    ids = np.frombuffer(b"".join(part for (part,) in rows), "<i8")
    return np.setdiff1d(ids[ids > after], dropped(connection), assume_unique=True)


def packs(connection: sqlite3.Connection) -> Iterator[tuple[Ids, Codes]]:
    """Everything in the packs that was not dropped."""
    gone = dropped(connection)
    for ids, codes in _packs(connection, "last > ?", 0):
        kept = ~np.isin(ids, gone, assume_unique=True)
        yield ids[kept], codes[kept]


def _packs(connection: sqlite3.Connection, condition: str, value: int) -> Iterator[tuple[Ids, Codes]]:
    for ids, codes in connection.execute(f"SELECT ids, codes FROM packs WHERE {condition} ORDER BY last", (value,)):
        part = np.frombuffer(ids, "<i8")
        yield part, np.frombuffer(codes, np.int8).reshape(len(part), -1)


def _insert(connection: sqlite3.Connection, ids: Ids, codes: Codes) -> None:
    connection.execute(
        "INSERT INTO packs (last, count, ids, codes) VALUES (?, ?, ?, ?)",
        (int(ids[-1]), len(ids), ids.astype("<i8").tobytes(), codes.tobytes()),
    )


def _repack(connection: sqlite3.Connection) -> None:
    """Write the packs anew, one at a time: they may be larger than the memory."""
    gone = dropped(connection)
    waiting: list[tuple[Ids, Codes]] = []
    for (last,) in connection.execute("SELECT last FROM packs ORDER BY last").fetchall():
        ((ids, codes),) = _packs(connection, "last = ?", last)
        connection.execute("DELETE FROM packs WHERE last = ?", (last,))
        kept = ~np.isin(ids, gone, assume_unique=True)
        if kept.any():  # those of another dimension are all gone
            waiting.append((ids[kept], codes[kept]))
        if sum(len(part) for part, _ in waiting) >= _FULL // 2:
            _insert(connection, *_joined(waiting))
            waiting.clear()
    if waiting:
        _insert(connection, *_joined(waiting))
    connection.execute("DELETE FROM dropped_codes")
    connection.execute("UPDATE header SET packing = packing + 1")


def _joined(parts: Sequence[tuple[Ids, Codes]]) -> tuple[Ids, Codes]:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([codes for _, codes in parts])
