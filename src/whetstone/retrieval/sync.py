"""Brings a knowledge base up to date with its folder: what changed is read, chunked and embedded, and shown at once.

Nothing of it is visible before all of it is. Killed at any moment, the old state goes on answering, and the next sync
finds the vectors that were computed and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from whetstone import settings
from whetstone.embeddings import Embedder
from whetstone.retrieval.agreement import Base, examine
from whetstone.retrieval.chunk_file import ChunkFile
from whetstone.retrieval.chunker import ChunkSettings
from whetstone.retrieval.document import DocumentRecord
from whetstone.retrieval.embedding_job import Engine, embed_missing, open_job
from whetstone.retrieval.intake import Intake, TakenIn
from whetstone.retrieval.plan import Plan, compare
from whetstone.retrieval.progress import Progress, Stage, Told
from whetstone.retrieval.reembed import replace_all_vectors
from whetstone.retrieval.scan import scan
from whetstone.retrieval.speed import keep_speed, measured_speed
from whetstone.retrieval.store import Change, Header, Store

__all__ = ["DocumentChange", "Progress", "SyncResult", "plan", "sync"]

WAIT = 10.0  # seconds to wait for another sync of the same knowledge base


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """What a sync did to one document.

    Attributes:
        path: of the document.
        kind: "added", "changed", "removed", "renamed", or "unreadable".
        detail: in words: from which path, how many chunks, or why it cannot be read.
    """

    path: str
    kind: Literal["added", "changed", "removed", "renamed", "unreadable"]
    detail: str = ""


@dataclass(frozen=True)
class SyncResult:
    """What a sync did.

    Attributes:
        changes: by document, sorted by path.
        problems: path -> why nothing of it is searched, for every document of the knowledge base, not only new ones.
        skipped: path -> why a file or folder is left out.
        documents, chunks: in the knowledge base now.
        embedded: chunks whose vectors were computed.
        seconds: it took.
        header: of the knowledge base now.
    """

    changes: tuple[DocumentChange, ...]
    problems: Mapping[str, str]
    skipped: Mapping[str, str]
    documents: int
    chunks: int
    embedded: int
    seconds: float
    header: Header

    def count(self, kind: str) -> int:
        """How many documents have a change of that kind."""
        return sum(change.kind == kind for change in self.changes)


def plan(
    store: Store,
    folder: Path,
    *,
    embedder: Embedder | None = None,
    spec: str | None = None,
    chunks: ChunkSettings | None = None,
    rebuild: bool = False,
) -> Plan:
    """What `sync` would do with the same arguments, and about how long it would take. Nothing is changed.

    Raises:
        DataError, UsageError, StorageError: as `sync`.
    """
    found = scan(folder)
    base = examine(store, folder, embedder, spec, chunks, rebuild=rebuild)
    manifest = {} if base.new else store.manifest()
    planned = compare(manifest, found, everything=base.everything)
    return planned.timed(measured_speed(base.embedder) if planned.to_read else None)


def sync(
    store: Store,
    folder: Path,
    *,
    embedder: Embedder | None = None,
    spec: str | None = None,
    chunks: ChunkSettings | None = None,
    engine: Engine = "local",
    rebuild: bool = False,
    wait: float = WAIT,
    progress: Told | None = None,
) -> SyncResult:
    """Make the knowledge base say what the folder holds.

    Args:
        store: open; a new one is created.
        folder: of documents.
        embedder: already loaded; otherwise `spec` loads it.
        spec: of the embedder; None means the one that the header names, else the packaged one.
        chunks: how documents are divided; None means as the header says, else the default.
        engine: "local", or "ray" for Ray Data.
        rebuild: read, chunk and embed every document again; follow another folder or other chunk settings; mend or
            replace a damaged store. Where it can be read, the old state answers until then.
        wait: seconds to wait for another sync of the same knowledge base.
        progress: told how far it is, in the thread that called.

    Raises:
        DataError: there is no such folder.
        UsageError: it would mix embedders, chunkers or folders, or another sync runs; the sentence says what to do.
        ModelError: the embedder failed; what was embedded is kept.
        StorageError: the store cannot be written; the old state stays.
    """
    began = time.perf_counter()
    told = progress or (lambda _: None)
    told(Progress("looking"))
    found = scan(folder)
    with store.writing(wait):
        base = examine(store, folder, embedder, spec, chunks, rebuild=rebuild)
        if base.new:
            store.create(base.agreed)
        manifest = store.manifest()
        planned = compare(manifest, found, everything=base.everything)
        with ChunkFile(settings.home() / "cache") as written:
            intake = Intake(planned.files, planned.to_read, base.chunker, written, manifest, _hashes_of(store))
            just_made: set[bytes] | None = set() if base.everything and rebuild else None
            embedded = _embed(store, base, intake, engine, told, just_made)
            told(Progress("saving", intake.read, intake.read, intake.handed, intake.handed))
            header = _apply(store, base, planned, intake, written)
        if just_made is not None:  # vectors that were there may be wrong: they are made anew too
            header, more = replace_all_vectors(store, header, base.embedder, engine, told, just_made)
            embedded += more
        now = manifest if header == base.header else store.manifest()
        return _result(now, planned, intake, embedded, time.perf_counter() - began, header)


def _embed(store: Store, base: Base, intake: Intake, engine: Engine, told: Told, just_made: set[bytes] | None) -> int:
    """Read what is to be read, and keep the vectors that are missing; how many there were.

    Args:
        just_made: takes their hashes, if they are wanted.
    """
    if not intake.paths:
        return 0
    settled = embedded = characters = 0
    seconds = 0.0

    def tell(more: int = 0) -> None:
        nonlocal settled
        settled += more
        stage: Stage = "embedding" if settled else "reading"
        told(Progress(stage, intake.read, len(intake.paths), settled, intake.handed))

    with open_job(engine, base.embedder, base.agreed.embedder_spec) as job, intake:
        for stretch in intake.stretches(job.least, job.most, tell):
            began = time.perf_counter()
            fresh = embed_missing(job, stretch, store, tell)
            seconds += time.perf_counter() - began
            characters += sum(len(stretch[one]) for one in fresh)
            embedded += len(fresh)
            if just_made is not None:
                just_made.update(fresh)
            settled = intake.taken  # a text that comes twice is embedded once
            tell()
    if engine == "local":
        keep_speed(base.embedder.name, characters, seconds)
    return embedded


def _apply(store: Store, base: Base, planned: Plan, intake: Intake, written: ChunkFile) -> Header:
    """Show the new state; the header as it is then."""
    removed = {*planned.removed, *(planned.renamed[path] for path in planned.retitled)}
    removed.update(path for path in intake.vanished if path in intake.known)
    change = Change(
        removed=sorted(removed),
        renamed={new: old for new, old in planned.renamed.items() if new not in planned.retitled},
        touched=planned.touched,
        written=written,
    )
    if (
        base.header == base.agreed
        and base.agreed.synced
        and not (removed or planned.renamed or planned.touched or len(written))
    ):
        return base.agreed  # nothing to show: whoever has the state in memory may keep it
    return store.apply(change, replace(base.agreed, synced=time.time()))


def _result(
    now: Mapping[str, DocumentRecord],
    planned: Plan,
    intake: Intake,
    embedded: int,
    seconds: float,
    header: Header,
) -> SyncResult:
    changes = [
        *(DocumentChange(path, "removed", planned.skipped.get(path, "")) for path in planned.removed),
        *(DocumentChange(path, "removed") for path in intake.vanished if path in intake.known),
        *(DocumentChange(new, "renamed", f"was {old}") for new, old in planned.renamed.items()),
    ]
    for taken in intake.taken_in:
        change = _change(taken, intake.known.get(taken.record.path))
        if change is not None and (change.path not in planned.renamed or change.kind == "unreadable"):
            changes.append(change)
    return SyncResult(
        changes=tuple(sorted(changes, key=lambda change: change.path)),
        problems={path: record.problem for path, record in sorted(now.items()) if record.problem},
        skipped=planned.skipped,
        documents=len(now),
        chunks=sum(record.chunks for record in now.values()),
        embedded=embedded,
        seconds=seconds,
        header=header,
    )


def _change(taken: TakenIn, known: DocumentRecord | None) -> DocumentChange | None:
    record = taken.record
    if record.problem:
        return DocumentChange(record.path, "unreadable", record.problem)
    chunks = f"{record.chunks} chunk{'s' if record.chunks != 1 else ''}"
    if known is None:
        return DocumentChange(record.path, "added", chunks)
    if known.digest == record.digest and not taken.new_chunks and known.chunks == record.chunks:
        return None  # read again only because everything was
    return DocumentChange(
        record.path, "changed", f"{taken.new_chunks} of {chunks} {'is' if taken.new_chunks == 1 else 'are'} new"
    )


def _hashes_of(store: Store) -> Callable[[str], set[bytes]]:
    return lambda path: {stored.chunk.hash for stored in store.chunks_of(path)}
