"""Where a knowledge base is kept: the contract of `sqlite_store.SqliteStore` and `postgres_store.PostgresStore`.

A knowledge base is a header, a manifest of documents, their chunks, and a vector for each distinct chunk text. Readers
always see one whole state. What a sync adds becomes visible in one transaction (`apply`); vectors are kept as soon as
they are computed, so that a kill costs none of them, but nothing finds them before the chunks that they belong to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from whetstone.retrieval.document import EVERYTHING, Chunk, DocumentRecord, Filter, StoredChunk

__all__ = ["Change", "Fault", "Header", "Match", "Store"]


@dataclass(frozen=True, slots=True)
class Header:
    """What must never be mixed within a knowledge base, and where it comes from.

    Attributes:
        folder: the folder that it follows, absolute.
        embedder: `Embedder.name` of what made its vectors; `embedder_spec` loads it again.
        dimension: of the vectors, all of which have length 1.
        chunker: version and settings of the chunker.
        synced: when the state became visible, in seconds since 1970; 0 before the first sync.
        state: counts the states; each `apply` adds one.
    """

    folder: str
    embedder: str
    embedder_spec: str
    dimension: int
    chunker: str
    synced: float = 0.0
    state: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """A chunk found by one of the two lists: `score` is the cosine, or BM25 (higher is better)."""

    id: int
    score: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a knowledge base that contradicts itself or the disk.

    Attributes:
        kind: "missing chunk", "missing vector", "stale vector", "orphan chunk", "orphan vector", "wrong dimension",
            "changed file", "missing file", "new file", "keyword index", "vector index", "unreadable".
        where: document path, chunk or table.
        detail: in a sentence, what was found and what was expected.
    """

    kind: str
    where: str
    detail: str


@dataclass(frozen=True)
class Change:
    """What one sync does to a knowledge base.

    Attributes:
        removed: paths of documents that are gone.
        renamed: new path -> old path of documents whose bytes stayed the same.
        touched: records of documents whose bytes stayed the same, but whose size, time, path or problem did not.
        written: new and changed documents with all their chunks, in order. Chunks that the document already has (same
            hash, ordinal and position) keep their ids. It may be an iterator: millions of chunks need not be in memory.
    """

    removed: Collection[str] = ()
    renamed: Mapping[str, str] | None = None
    touched: Collection[DocumentRecord] = ()
    written: Iterable[tuple[DocumentRecord, Iterable[Chunk]]] = ()


class Store(Protocol):
    """One knowledge base. Safe to use from several threads; several processes may read while one writes.

    Every method raises StorageError, in one sentence, when the store cannot be read or written (locked, full, damaged).
    """

    @property
    def name(self) -> str: ...

    @property
    def where(self) -> str:
        """The file or the server, in words, without a password."""
        ...

    def header(self) -> Header | None:
        """None before `create`."""
        ...

    def create(self, header: Header) -> None:
        """Make an empty knowledge base; the one that may be there is replaced."""
        ...

    def writing(self, wait: float) -> AbstractContextManager[None]:
        """One sync at a time, over processes and machines; given back when the process dies.

        Raises:
            UsageError: another sync runs and did not end within `wait` seconds; the sentence says which process.
        """
        ...

    def manifest(self) -> dict[str, DocumentRecord]:
        """Every document by its path."""
        ...

    def chunks_of(self, path: str, first: int = 0) -> Iterator[StoredChunk]:
        """The chunks of a document in order, from that ordinal on; what is not asked for is not read."""
        ...

    def chunks(self, ids: Sequence[int]) -> list[StoredChunk]:
        """Chunks by id, in that order; those that are gone meanwhile are left out."""
        ...

    def count(self) -> int:
        """How many chunks there are."""
        ...

    def with_vectors(self, hashes: Collection[bytes]) -> set[bytes]:
        """Those of the chunk hashes whose vectors are kept already."""
        ...

    def add_vectors(self, hashes: Sequence[bytes], vectors: npt.NDArray[np.float32]) -> None:
        """Keep vectors, shape (len(hashes), dimension), durably, before their chunks are visible."""
        ...

    def apply(self, change: Change, header: Header) -> Header:
        """Make a new state visible, at once and wholly; vectors that no chunk needs any more are dropped.

        Raises:
            StorageError: a written chunk has no vector; nothing was changed.
        """
        ...

    def dense(self, vector: npt.NDArray[np.float32], k: int, where: Filter = EVERYTHING) -> list[Match]:
        """The `k` chunks of highest cosine to a vector of length 1, best first; ties go to the lower id."""
        ...

    def cosines(self, vector: npt.NDArray[np.float32], ids: Sequence[int]) -> list[float]:
        """Cosine of each of these chunks to a vector of length 1."""
        ...

    def keyword(self, text: str, k: int, where: Filter = EVERYTHING) -> list[Match]:
        """The `k` chunks of highest BM25 for the terms of a text, best first; ties go to the lower id."""
        ...

    def vectors(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Vectors of chunks, shape (len(ids), dimension)."""
        ...

    def document_frequency(self, terms: Sequence[str]) -> list[int]:
        """In how many chunks each term stands; terms as `terms.index_terms` gives them."""
        ...

    def faults(self) -> Iterator[Fault]:
        """Everything in which header, manifest, chunks, keyword index and vectors contradict each other."""
        ...

    def replace_vectors(
        self, header: Header, batches: Iterable[tuple[Sequence[bytes], npt.NDArray[np.float32]]]
    ) -> Header:
        """Swap in the vectors of another embedder for all chunks, at once; the old ones serve until then."""
        ...

    def delete(self) -> None:
        """Remove the knowledge base and all that belongs to it."""
        ...

    def close(self) -> None:
        """Closing twice is harmless."""
        ...
