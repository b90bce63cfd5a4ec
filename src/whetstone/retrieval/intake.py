"""Documents read and chunked by a thread of their own, while the chunks before them are embedded."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from whetstone.errors import DataError, MissingPackageError
from whetstone.retrieval import reading
from whetstone.retrieval.chunk_file import ChunkFile
from whetstone.retrieval.chunker import Chunker
from whetstone.retrieval.document import DocumentRecord
from whetstone.retrieval.plan import modified_to_keep
from whetstone.retrieval.scan import FoundFile

__all__ = ["Intake"]

_AHEAD = 8192  # chunks that may wait to be embedded; together with those at work this bounds the memory
_LOOK_UP = 0.2  # seconds between looks at whether to go on

NO_TEXT = "there is no text in it"


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A document that was read, or that could not be; `new_chunks` are those that it did not have before."""

    record: DocumentRecord
    new_chunks: int


@dataclass
class Intake:
    """Reads documents into a `ChunkFile`, and hands their chunks to whoever embeds them.

    Attributes:
        files: the documents to read.
        paths: their paths, in the order to read them.
        chunker: divides them.
        into: takes documents with all their chunks.
        known: the manifest, to tell what did not change after all.
        old_hashes: the hashes of the chunks that a document of the manifest has so far.
        taken_in: what was read, in order.
        vanished: paths that were gone when they were to be read.
        read: how many documents are done.
        handed, taken: how many chunks were found, and how many of them were taken to be embedded.
    """

    files: Mapping[str, FoundFile]
    paths: Sequence[str]
    chunker: Chunker
    into: ChunkFile
    known: Mapping[str, DocumentRecord]
    old_hashes: Callable[[str], set[bytes]]
    taken_in: list[TakenIn] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    read: int = 0
    handed: int = 0
    taken: int = 0

    def __post_init__(self) -> None:
        self._waiting: queue.Queue[tuple[bytes, str] | None] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="whetstone-intake", daemon=True)

    def __enter__(self) -> Intake:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def stretches(self, least: int, most: int, waiting: Callable[[], None]) -> Iterator[dict[bytes, str]]:
        """Chunks as they come, hash -> text, as many at a time as are there, but at least `least` and at most `most`.

        Args:
            waiting: called now and then while there is nothing to hand out.

        Raises:
            StorageError: the chunks could not be set aside.
        """
        ended = False
        while not ended:
            stretch: dict[bytes, str] = {}
            while len(stretch) < most:
                try:
                    item = self._waiting.get(timeout=0.0 if len(stretch) >= least else _LOOK_UP)
                except queue.Empty:
                    if len(stretch) >= least:
                        break
                    waiting()
                    continue
                if item is None:
                    ended = True
                    break
                stretch[item[0]] = item[1]
                self.taken += 1
            if stretch:
                yield stretch
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            for path in self.paths:
                if self._stop.is_set():
                    return
                self._take(self.files[path])
                self.read += 1
        except BaseException as error:  # raised again where the chunks are taken
            self._failure = error
        finally:
            self._hand_over(None)

    def _take(self, file: FoundFile) -> None:
        looked = time.time_ns()
        try:
            status = file.file.stat(follow_symlinks=False)
        except OSError:
            self.vanished.append(file.path)
            return
        record = DocumentRecord(file.path, status.st_size, modified_to_keep(status.st_mtime_ns, looked), digest="")
        known = self.known.get(file.path)
        old = self.old_hashes(file.path) if known is not None and known.chunks else set()
        count = new = 0
        try:
            document = reading.read(file.file, file.path)
            for chunk in self.chunker.chunks(document.title, document.blocks):
                self.into.add(chunk)
                self._hand_over((chunk.hash, chunk.shown))
                count += 1
                new += chunk.hash not in old
                self.handed += 1
                if self._stop.is_set():
                    return
        except (DataError, MissingPackageError) as error:
            # Nothing of it is searched, not even what an earlier form of the file said: that may be wrong by now.
            self.into.drop_document()
            record = _unreadable(record, file, error)
        else:
            record = replace(
                record,
                digest=document.digest(),
                title=document.title,
                metadata=document.metadata,
                chunks=count,
                problem="" if count else NO_TEXT,
            )
        if record != known or not record.problem:
            self.into.end_document(record)
            self.taken_in.append(TakenIn(record, new))

    def _hand_over(self, item: tuple[bytes, str] | None) -> None:
        while not self._stop.is_set():
            try:
                self._waiting.put(item, timeout=_LOOK_UP)
                return
            except queue.Full:
                continue


def _unreadable(record: DocumentRecord, file: FoundFile, error: DataError | MissingPackageError) -> DocumentRecord:
    """The record of a document that cannot be read: tried again when its bytes change.

    Where even the bytes cannot be had, or the cure is outside of the file, it has neither digest nor time, and every
    sync tries it again.
    """
    if not isinstance(error, MissingPackageError | reading.ChangedWhileReadError):
        try:
            return replace(record, digest=reading.digest_of(file.file, file.path), problem=str(error))
        except DataError:
            pass
    return replace(record, modified=0, problem=str(error))
