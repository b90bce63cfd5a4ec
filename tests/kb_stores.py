"""Empty knowledge bases on SQLite and on PostgreSQL, and things to put into them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from postgres import PostgresServer
from whetstone.retrieval.document import Chunk, DocumentRecord
from whetstone.retrieval.sqlite_store import SqliteStore
from whetstone.retrieval.store import Change, Header, Store

DIMENSION = 16
HEADER = Header(folder="/docs", embedder="hashed", embedder_spec="hashed", dimension=DIMENSION, chunker="chunker 1")

NewStore = Callable[..., Store]
"""`any_store(name="kb")` opens a knowledge base, a new one, or again the one that this test gave that name."""


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewStore]:
    """Opens knowledge bases without a header; each test has its own. They are closed at its end.

    A module that uses it imports the fixture `postgres` too.
    """
    url = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database("template0")
    with contextlib.ExitStack() as stores:

        def opened(name: str = "kb", *, wait: float = 10.0) -> Store:
            store: Store
            if url:
                from whetstone.retrieval.postgres_store import PostgresStore

                store = PostgresStore(url, name, wait=wait)
            else:
                store = SqliteStore(tmp_path / f"{name}.db", wait=wait)
            return stores.enter_context(contextlib.closing(store))

        yield opened


def vector_of(text: str, dimension: int = DIMENSION) -> npt.NDArray[np.float32]:
    """A unit vector that depends on nothing but the text."""
    seed = int.from_bytes(Chunk(0, (), text, 0, len(text)).hash, "big")
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def chunks_of(*texts: str, title: str = "") -> list[Chunk]:
    """Chunks of one document, one after the other."""
    chunks, at = [], 0
    for ordinal, text in enumerate(texts):
        chunks.append(Chunk(ordinal, (title,) if title else (), text, at, at + len(text)))
        at += len(text) + 2
    return chunks


def record_of(path: str, chunks: Sequence[Chunk], metadata: Mapping[str, str] | None = None) -> DocumentRecord:
    """The manifest's line of a document with these chunks."""
    digest = "".join(chunk.hash.hex() for chunk in chunks)[:64]
    size = sum(len(chunk.text) for chunk in chunks)
    kind = {"type": path.rpartition(".")[2], "folder": path.rpartition("/")[0].partition("/")[0]}
    return DocumentRecord(
        path, size, 1_700_000_000_000_000_000, digest, path, {**kind, **(metadata or {})}, len(chunks)
    )


def written(
    store: Store,
    documents: Mapping[str, Sequence[str]],
    *,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    removed: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    header: Header = HEADER,
) -> Header:
    """Write documents (path -> texts of its chunks) as a sync does: the vectors first, then the change."""
    parts = {path: chunks_of(*texts) for path, texts in documents.items()}
    kept = {chunk.hash: chunk for chunks in parts.values() for chunk in chunks}
    missing = sorted(set(kept) - store.with_vectors(list(kept)))
    if missing:
        store.add_vectors(missing, np.stack([vector_of(kept[one].shown, header.dimension) for one in missing]))
    change = Change(
        removed=removed,
        renamed=renamed,
        written=((record_of(path, chunks, (metadata or {}).get(path)), chunks) for path, chunks in parts.items()),
    )
    return store.apply(change, header)


def texts_found(store: Store, ids: Sequence[int]) -> list[str]:
    """The texts of chunks, in the order of their ids."""
    return [stored.chunk.text for stored in store.chunks(ids)]
