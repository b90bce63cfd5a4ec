"""Everything in a SQLite file that contradicts itself."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from whetstone.errors import StorageError
from whetstone.retrieval import sqlite_codes, sqlite_keyword, terms
from whetstone.retrieval.document import Chunk
from whetstone.retrieval.sqlite_file import SqliteFile, is_damage
from whetstone.retrieval.sqlite_rows import CHUNK, chunk_of
from whetstone.retrieval.store import Fault
from whetstone.retrieval.vector_check import fault_of
from whetstone.retrieval.vector_index import Codes, encoded, scales_of

_NAMED = 20  # terms and complaints of SQLite that are named one by one


def faults_of(file: SqliteFile) -> Iterator[Fault]:
    """The faults of one state. Reads every text and every vector."""
    try:
        with file.reading() as connection:
            for (said,) in connection.execute(f"PRAGMA integrity_check({_NAMED})"):
                if said != "ok":
                    yield Fault("unreadable", str(file.path), f"SQLite finds it damaged: {said}")
            if connection.execute("SELECT 1 FROM header").fetchone() is None:
                yield Fault("unreadable", "header", "there is none: nothing was ever synced into it")
                return
            yield from _documents(connection)
            yield from _vectors(connection)
            try:
                yield from _codes(connection)
            except ValueError as error:
                yield Fault("vector index", "packs", f"codes of vectors are not as long as they should be: {error}")
            yield from _texts(connection)
    except StorageError as error:
        if not is_damage(error.__cause__):
            raise
        yield Fault("unreadable", str(file.path), str(error))


def _documents(connection: sqlite3.Connection) -> Iterator[Fault]:
    rows = connection.execute(
        "SELECT d.id, d.path, d.chunks FROM documents d LEFT JOIN chunks c ON c.document = d.id GROUP BY d.id"
        " HAVING count(c.id) <> d.chunks OR count(DISTINCT c.ordinal) <> d.chunks OR max(c.ordinal) >= d.chunks"
        " ORDER BY d.path"
    ).fetchall()
    for document, path, expected in rows:
        ordinals = connection.execute("SELECT ordinal FROM chunks WHERE document = ?", (document,))
        found = Counter(ordinal for (ordinal,) in ordinals)
        for ordinal in range(expected):
            if not found.pop(ordinal, 0):
                yield Fault("missing chunk", path, f"chunk {ordinal} of {expected} is not there")
        for ordinal in sorted(found):
            yield Fault("orphan chunk", path, f"there is a chunk {ordinal}, though it has only {expected}")
    rows = connection.execute(
        "SELECT id, document FROM chunks WHERE document NOT IN (SELECT id FROM documents) ORDER BY id"
    ).fetchall()
    for id_, document in rows:
        yield Fault("orphan chunk", f"chunk {id_}", f"it belongs to document {document}, which is not there")


def _vectors(connection: sqlite3.Connection) -> Iterator[Fault]:
    rows = connection.execute(
        "SELECT c.id, coalesce(d.path, '') FROM chunks c LEFT JOIN documents d ON d.id = c.document"
        " WHERE c.vector NOT IN (SELECT id FROM vectors) ORDER BY c.id"
    )
    for id_, path in rows:
        yield Fault("missing vector", path, f"chunk {id_} has no vector")
    # A sync that was interrupted leaves vectors for the next one: they have codes, and are newer than the state.
    last, dimension = connection.execute("SELECT last_vector, dimension FROM header").fetchone()
    waiting = set(sqlite_codes.known(connection, last).tolist())
    rows = connection.execute("SELECT id FROM vectors WHERE id NOT IN (SELECT vector FROM chunks) ORDER BY id")
    for (id_,) in rows:
        if id_ not in waiting:
            yield Fault("orphan vector", f"vector {id_}", "no chunk needs it")
    for id_, vector in connection.execute("SELECT id, vector FROM vectors ORDER BY id"):
        whole = len(vector) % 4 == 0
        wrong = fault_of(np.frombuffer(vector, "<f4"), dimension) if whole else f"has {len(vector)} bytes"
        if wrong:
            kind = "stale vector" if len(vector) == 4 * dimension else "wrong dimension"
            yield Fault(kind, f"vector {id_}", f"it {wrong}")


def _codes(connection: sqlite3.Connection) -> Iterator[Fault]:
    """Whether what dense search scans is what the vectors say."""
    dimension = connection.execute("SELECT dimension FROM header").fetchone()[0]
    seen = set()
    for ids, codes in sqlite_codes.packs(connection):
        seen.update(ids.tolist())
        between = (int(ids.min(initial=0)), int(ids.max(initial=0)))
        vectors = dict(connection.execute("SELECT id, vector FROM vectors WHERE id BETWEEN ? AND ?", between))
        for id_ in ids.tolist():
            if id_ not in vectors:
                yield Fault("vector index", f"vector {id_}", "it is searched, though it is not there")
        sound = [at for at, id_ in enumerate(ids.tolist()) if len(vectors.get(id_, b"")) == 4 * dimension]
        kept = np.frombuffer(b"".join(vectors[int(ids[at])] for at in sound), "<f4").reshape(len(sound), dimension)
        for at in np.flatnonzero(~_are_codes(codes[sound], kept)).tolist():
            yield Fault("vector index", f"vector {ids[sound[at]]}", "what is searched is not what the vector says")
    for (id_,) in connection.execute("SELECT DISTINCT vector FROM chunks ORDER BY vector"):
        if id_ not in seen:
            yield Fault("vector index", f"vector {id_}", "it is not searched, though a chunk has it")


def _are_codes(codes: Codes, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which codes are those of the vectors, shape (n,); bytes that are off by one were rounded by another machine."""
    with np.errstate(invalid="ignore"):  # vectors that are not finite, a fault of their own
        right = encoded(vectors)
    close = np.abs(right[:, 4:].astype(np.int16) - codes[:, 4:]).max(axis=1, initial=0) <= 1
    same: npt.NDArray[np.bool_] = close & np.isclose(scales_of(right), scales_of(codes), rtol=1e-5, atol=0)
    return same


def _texts(connection: sqlite3.Connection) -> Iterator[Fault]:
    """Whether vectors and keyword index belong to the texts."""
    # An index that another version of `terms` wrote is written anew before it is used.
    current = not sqlite_keyword.is_outdated(connection)
    lengths = sqlite_keyword.lengths(connection)
    expected: Counter[str] = Counter()
    embedding = connection.execute("SELECT embedding FROM header").fetchone()[0]
    columns = ", ".join(f"c.{column}" for column in CHUNK.split(", "))
    rows = connection.execute(
        f"SELECT c.id, coalesce(d.path, ''), v.hash, v.embedding, {columns} FROM chunks c"
        " LEFT JOIN documents d ON d.id = c.document LEFT JOIN vectors v ON v.id = c.vector ORDER BY c.id"
    )
    for id_, path, hash_, made_for, *values in rows:
        chunk = chunk_of(values)
        if hash_ is not None and (hash_, made_for) != (chunk.hash, embedding):
            yield Fault("stale vector", path, f"the vector of chunk {id_} is not of the text that it has now")
        if current:
            yield from _indexed(id_, path, chunk, lengths.pop(id_, None), expected)
    if current:
        for id_ in lengths:
            yield Fault("keyword index", f"chunk {id_}", "it can be found by its words, though it is not there")
        yield from _counted(connection, expected)


def _indexed(id_: int, path: str, chunk: Chunk, length: int | None, expected: Counter[str]) -> Iterator[Fault]:
    found = terms.index_terms(chunk.shown)
    expected.update(found)
    if length is None:
        yield Fault("keyword index", path, f"chunk {id_} cannot be found by its words")
    elif length != len(found):
        yield Fault("keyword index", path, f"chunk {id_} was indexed with {length} terms, but has {len(found)}")


def _counted(connection: sqlite3.Connection, expected: Counter[str]) -> Iterator[Fault]:
    """The index keeps no text; that its counts are those of all chunks together shows that it has the right terms."""
    differing = 0
    for term, count in connection.execute("SELECT term, cnt FROM keyword_terms"):
        if (right := expected.pop(term, 0)) != count:
            differing += 1
            if differing <= _NAMED:
                yield Fault("keyword index", f"term {term}", f"it is indexed {count} times, but stands {right} times")
    for term, right in sorted(expected.items()):
        differing += 1
        if differing <= _NAMED:
            yield Fault("keyword index", f"term {term}", f"it is not indexed, but stands {right} times")
    if differing > _NAMED:
        yield Fault("keyword index", "terms", f"{differing - _NAMED} more terms are counted wrong")
