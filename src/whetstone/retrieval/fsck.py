"""Proves that index = manifest = disk, or says every place where they differ."""

from __future__ import annotations

import random
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whetstone.embeddings import Embedder
from whetstone.errors import DataError, MissingPackageError, StorageError
from whetstone.retrieval import reading
from whetstone.retrieval.agreement import chunker_for
from whetstone.retrieval.chunker import Chunker
from whetstone.retrieval.document import Chunk, DocumentRecord, StoredChunk
from whetstone.retrieval.library import loaded_embedder
from whetstone.retrieval.progress import Progress, Told
from whetstone.retrieval.scan import FoundFile, scan
from whetstone.retrieval.store import Fault, Header, Store

__all__ = ["ON_DISK", "SAMPLE", "check", "cure"]

ON_DISK = frozenset({"changed file", "missing file", "new file"})
"""Kinds of faults that a plain sync mends: the disk went on. Everything else needs `--rebuild`."""

SAMPLE = 512
"""Chunks whose vectors are computed again when not all are."""

_SAME = 0.999  # cosine; another machine or a server's rounding moves it by less, another text by more
_AT_ONCE = 256
_NAMED = 3  # chunks of one document that are named one by one


def check(
    store: Store,
    folder: Path | None = None,
    *,
    embedder: Embedder | None = None,
    deep: bool = False,
    seed: int = 0,
    progress: Told | None = None,
) -> Iterator[Fault]:
    """Every fault that can be found: within the store, between it and the files, and between texts and vectors.

    Every file is read and chunked again; nothing is changed.

    Args:
        store: open.
        folder: in place of the one that the header names.
        embedder: in place of the one that the header names.
        deep: compute the vector of every chunk again, not only of `SAMPLE` of them.
        seed: chooses the sample.
        progress: told how far it is.

    Raises:
        DataError: the folder is not there.
        StorageError: the embedder that made the vectors is not to be had.
    """
    told = progress or (lambda _: None)
    reported = set()
    try:
        for fault in store.faults():
            if fault.kind in ("missing chunk", "orphan chunk"):
                reported.add(fault.where)
            yield fault
        header = store.header()
        manifest = store.manifest()
    except StorageError as error:
        yield Fault("unreadable", store.where, str(error))
        return
    if header is None:
        yield Fault("unreadable", store.where, "there is no knowledge base: nothing was ever synced into it")
        return
    embedder = embedder or loaded_embedder(store.name, header)
    sample = _Sample(None if deep else SAMPLE, seed)
    try:
        yield from _against_disk(
            store, header, manifest, folder or Path(header.folder), embedder, sample, reported, told
        )
        yield from _vectors(store, sample.chosen, embedder, told)
    except StorageError as error:
        yield Fault("unreadable", store.where, str(error))


def cure(store: Store, faults: Collection[Fault]) -> str:
    """What mends these faults, in words; "" if there are none."""
    if not faults:
        return ""
    try:
        header = store.header()
    except StorageError:
        header = None
    place = f"whet kb sync {shlex.quote(header.folder) if header is not None else 'FOLDER'} --kb {store.name}"
    if all(fault.kind in ON_DISK for fault in faults):
        return f"the folder went on; `{place}` brings the knowledge base up to date"
    return f"`{place} --rebuild` mends the knowledge base"


@dataclass
class _Sample:
    """Some of the chunks that pass by, each with the same chance (Vitter 1985, algorithm R); all if `most` is None."""

    most: int | None
    seed: int

    def __post_init__(self) -> None:
        self.chosen: list[int] = []
        self._passed = 0
        self._random = random.Random(self.seed)

    def pass_by(self, id: int) -> None:
        self._passed += 1
        if self.most is None or len(self.chosen) < self.most:
            self.chosen.append(id)
        elif (place := self._random.randrange(self._passed)) < self.most:
            self.chosen[place] = id


def _against_disk(
    store: Store,
    header: Header,
    manifest: Mapping[str, DocumentRecord],
    folder: Path,
    embedder: Embedder,
    sample: _Sample,
    reported: Collection[str],
    told: Told,
) -> Iterator[Fault]:
    """Every document against its file; the chunks of those in `reported` are known to be wrong already."""
    found = scan(folder)
    chunker = chunker_for(header, embedder, None)
    comparable = chunker.version == header.chunker
    for done, path in enumerate(sorted({*manifest, *found.files})):
        told(Progress("checking", done, len(manifest), 0, 0))
        record, file = manifest.get(path), found.files.get(path)
        if record is None:
            yield Fault("new file", path, "the folder holds it, the knowledge base does not")
            continue
        chunks = _Passing(store.chunks_of(path), sample)
        if file is None:
            why = found.skipped.get(path, "it is gone")
            yield Fault("missing file", path, f"the knowledge base holds it, the folder does not: {why}")
        elif record.digest:
            yield from _document(record, file, chunks, chunker if comparable and path not in reported else None)
        chunks.drain()


class _Passing:
    """The chunks of a document on their way from the store, of which a sample is taken."""

    def __init__(self, chunks: Iterator[StoredChunk], sample: _Sample) -> None:
        self._chunks, self._sample = chunks, sample

    def __iter__(self) -> Iterator[Chunk]:
        for stored in self._chunks:
            self._sample.pass_by(stored.id)
            yield stored.chunk

    def drain(self) -> None:
        """Let those pass too that nobody asked for."""
        for _ in self:
            pass


def _document(
    record: DocumentRecord, file: FoundFile, stored: Iterable[Chunk], chunker: Chunker | None
) -> Iterator[Fault]:
    """The bytes of a file against its record, and a new chunking against its chunks."""
    try:
        if reading.digest_of(file.file, file.path) != record.digest:
            seen = (file.size, file.modified) != (record.size, record.modified or file.modified)
            how = "" if seen else ", though its size and time are the same"
            yield Fault("changed file", record.path, f"its bytes are not those that were read{how}")
        elif chunker is not None and not record.problem:
            document = reading.read(file.file, file.path)
            yield from _chunks(record.path, chunker.chunks(document.title, document.blocks), iter(stored))
    except (DataError, MissingPackageError) as error:
        yield Fault("unreadable", record.path, str(error))


def _chunks(path: str, expected: Iterator[Chunk], stored: Iterator[Chunk]) -> Iterator[Fault]:
    """A new chunking against what is stored; both in the order of their ordinals, and neither is held."""
    faults = 0
    right, kept = next(expected, None), next(stored, None)
    while right is not None or kept is not None:
        # Both move on when they stand at the same ordinal; else the one that is behind.
        at_right = right is not None and (kept is None or right.ordinal <= kept.ordinal)
        at_kept = kept is not None and (right is None or kept.ordinal <= right.ordinal)
        if not (
            at_right and at_kept and right is not None and kept is not None and _identity(right) == _identity(kept)
        ):
            for kind, chunk, here, detail in (
                ("missing chunk", right, at_right, "the document has it, the store does not"),
                ("orphan chunk", kept, at_kept, "the store has it, the document does not"),
            ):
                if here and chunk is not None:
                    faults += 1
                    if faults <= _NAMED:
                        yield Fault(kind, f"{path}, chunk {chunk.ordinal}", f"{detail} ({chunk.shown[:60]!r})")
        right = next(expected, None) if at_right else right
        kept = next(stored, None) if at_kept else kept
    if faults > _NAMED:
        yield Fault("missing chunk", path, f"and {faults - _NAMED} more of its chunks are not those of the document")


def _identity(chunk: Chunk) -> tuple[int, bytes, int, int, str]:
    return chunk.ordinal, chunk.hash, chunk.start, chunk.end, chunk.place


def _vectors(store: Store, ids: list[int], embedder: Embedder, told: Told) -> Iterator[Fault]:
    """Vectors that are not those of their texts. Those that are no unit vectors at all are the store's to report."""
    for start in range(0, len(ids), _AT_ONCE):
        told(Progress("embedding", 0, 0, start, len(ids)))
        stored = store.chunks(ids[start : start + _AT_ONCE])
        kept = [_kept(store, one.id, embedder.dimension) for one in stored]
        right = embedder.embed([one.chunk.shown for one in stored])
        for one, vector, expected in zip(stored, kept, right, strict=True):
            cosine = float(vector.astype(np.float64) @ expected.astype(np.float64)) if vector is not None else 1.0
            if not cosine >= _SAME:
                where = f"{one.path}, chunk {one.chunk.ordinal}"
                yield Fault(
                    "stale vector", where, f"it is not the vector of its text (cosine {cosine:.3f}, expected 1)"
                )


def _kept(store: Store, id: int, dimension: int) -> npt.NDArray[np.float32] | None:
    """A chunk's vector, one at a time so that a damaged one hides no other; None if there is no whole one."""
    try:
        (vector,) = store.vectors([id])
    except (StorageError, ValueError):  # one of another length cannot be laid out
        return None
    return vector if vector.shape == (dimension,) and vector.any() else None
