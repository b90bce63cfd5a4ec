"""Documents and their chunks set aside in a file between chunking and `Store.apply`: millions need not be in memory."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from whetstone.errors import StorageError
from whetstone.retrieval.document import Chunk, DocumentRecord

__all__ = ["ChunkFile"]


@dataclass(frozen=True, slots=True)
class _Document:
    record: DocumentRecord
    start: int  # offset in the file


class ChunkFile:
    """A temporary file of chunks, a line each. It has no name, so a kill leaves nothing behind.

    One thread writes, then another reads. Reading again begins from the start.

    Args:
        folder: where the file is; not the system's folder for temporary files, which may be in memory.

    Raises:
        StorageError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._documents: list[_Document] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  `close` closes it
        except OSError as error:
            raise self._error(error) from error
        self._start = 0

    def add(self, chunk: Chunk) -> None:
        """Set aside a chunk of the document that is being read."""
        row = (chunk.ordinal, chunk.headings, chunk.text, chunk.start, chunk.end, chunk.place, chunk.header)
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        try:
            self._file.write(line + b"\n")
        except OSError as error:
            raise self._error(error) from error

    def end_document(self, record: DocumentRecord) -> None:
        """The chunks since the last document are this one's."""
        self._documents.append(_Document(record, self._start))
        self._start = self._file.tell()

    def drop_document(self) -> None:
        """Forget the chunks since the last document: the rest could not be read."""
        try:
            self._file.seek(self._start)
            self._file.truncate()
        except OSError as error:
            raise self._error(error) from error

    def __len__(self) -> int:
        """How many documents."""
        return len(self._documents)

    def __iter__(self) -> Iterator[tuple[DocumentRecord, Iterable[Chunk]]]:
        """Documents in the order they were added, with their chunks; those are to be taken before the next document."""
        for document in self._documents:
            yield document.record, self._chunks(document)

    def hashes(self) -> Iterator[bytes]:
        """Hashes of all chunks, in order; one may come more than once."""
        for _, chunks in self:
            for chunk in chunks:
                yield chunk.hash

    def close(self) -> None:
        """Closing twice is harmless."""
        with contextlib.suppress(OSError):  # what a full disk did not take is not wanted any more
            self._file.close()

    def __enter__(self) -> ChunkFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _chunks(self, document: _Document) -> Iterator[Chunk]:
        try:
            self._file.seek(document.start)
            for _ in range(document.record.chunks):
                row = json.loads(self._file.readline().decode("utf-8", "surrogatepass"))
                ordinal, headings, text, start, end, place, header = row
                yield Chunk(ordinal, tuple(headings), text, start, end, place, header)
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._folder}: {error.strerror or error}; what was computed is kept: the same command goes on from there"
        )
