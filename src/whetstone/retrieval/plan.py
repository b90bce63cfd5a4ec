"""What a sync has to do: the manifest compared with the folder, and about how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from whetstone.errors import DataError
from whetstone.retrieval import reading
from whetstone.retrieval.document import DocumentRecord
from whetstone.retrieval.reading.formats import type_of
from whetstone.retrieval.scan import FoundFile, Scan

__all__ = ["Plan", "compare", "modified_to_keep"]

_SETTLED = 2_000_000_000  # ns; the coarsest clock of a file system in use (FAT) ticks every 2 s
_TEXT = 1.0  # characters to embed for a byte of a text file
_CONVERTED = 0.1  # ... and of a PDF or an office file, most of which is layout and pictures
_CONVERTED_TYPES = frozenset({"pdf", "docx", "pptx", "xlsx"})
_SECONDS_A_DOCUMENT = 0.002  # to open, read, chunk and store a small one


@dataclass(frozen=True)
class Plan:
    """What a sync has to do. `str()` is "+12 ~3 -1, 4 s"; the seconds are an estimate.

    Attributes:
        added, changed, removed: paths, sorted.
        renamed: new path -> old path of documents whose bytes are the same.
        retitled: those of `renamed` that have to be read again, as their title was the file's name.
        retried: paths that could not be read before, and may be readable now.
        touched: records of documents that only have another time, size or path than the manifest says.
        skipped: path -> why a file or folder is left out.
        unchanged: how many documents are as the manifest says.
        files: what the folder holds, by path.
        seconds: about how long the sync takes; None when the speed of the embedder is not known.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    retitled: frozenset[str] = frozenset()
    retried: tuple[str, ...] = ()
    touched: tuple[DocumentRecord, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    unchanged: int = 0
    files: Mapping[str, FoundFile] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def to_read(self) -> list[str]:
        """Paths of the documents to read and chunk, sorted."""
        return sorted({*self.added, *self.changed, *self.retried, *self.retitled})

    @property
    def nothing(self) -> bool:
        """Whether the folder is as the manifest says."""
        return not (self.added or self.changed or self.removed or self.renamed)

    def characters(self) -> float:
        """About how many characters there are to embed, at most."""
        return sum(
            self.files[path].size * (_CONVERTED if type_of(path) in _CONVERTED_TYPES else _TEXT)
            for path in self.to_read
        )

    def timed(self, characters_a_second: float | None) -> Plan:
        """The plan with an estimate.

        Args:
            characters_a_second: what the embedder manages; None when that is not known.
        """
        if self.nothing and not self.retried:
            return replace(self, seconds=0.0)
        if characters_a_second is None:
            return self
        documents = len(self.to_read) * _SECONDS_A_DOCUMENT
        return replace(self, seconds=self.characters() / characters_a_second + documents)

    def __str__(self) -> str:
        parts = [f"+{len(self.added)} ~{len(self.changed)} -{len(self.removed)}"]
        if self.renamed:
            parts.append(f"{len(self.renamed)} renamed")
        if self.seconds is not None:
            parts.append(in_words(self.seconds))
        return ", ".join(parts)


def compare(
    manifest: Mapping[str, DocumentRecord],
    found: Scan,
    *,
    everything: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """What to do so that the manifest says what the folder holds.

    A file of the size and time that the manifest knows is not opened. Where only the time differs, or where a new file
    has the size of one that is gone, its bytes are digested, and are the judge.

    Args:
        manifest: every document by its path.
        found: the folder.
        everything: read every document again, whatever the manifest says.
        progress: told `(done, total)` files that had to be digested.
    """
    files = found.files
    gone = {path: record for path, record in manifest.items() if path not in files}
    gone_by_size: dict[int, list[str]] = {}
    for path, record in gone.items():
        if record.digest:
            gone_by_size.setdefault(record.size, []).append(path)
    added: list[str] = []
    changed: list[str] = []
    retried: list[str] = []
    doubtful: list[str] = []
    unchanged = 0
    for path, file in files.items():
        known = manifest.get(path)
        if known is None:
            (doubtful if file.size in gone_by_size else added).append(path)
        elif known.size == file.size and known.modified == file.modified and not everything:
            unchanged += 1
        elif not known.digest:
            retried.append(path)
        elif known.size != file.size or everything:
            changed.append(path)
        else:
            doubtful.append(path)

    touched: list[DocumentRecord] = []
    renamed: dict[str, str] = {}
    retitled: set[str] = set()
    taken: set[str] = set()
    for done, path in enumerate(doubtful, start=1):
        file = files[path]
        now = time.time_ns()
        digest = _digest(file)
        known = manifest.get(path)
        if known is not None:
            if digest != known.digest:
                changed.append(path)
                continue
            unchanged += 1
            if (modified := modified_to_keep(file.modified, now)) != known.modified:
                touched.append(replace(known, modified=modified))
        elif (old := _same_bytes(manifest, gone_by_size[file.size], taken, digest, path)) is None:
            added.append(path)
        else:
            taken.add(old)
            renamed[path] = old
            if everything or not _may_keep_its_chunks(gone[old], path):
                retitled.add(path)
            else:
                touched.append(_moved(gone[old], file, modified_to_keep(file.modified, now)))
        if progress is not None:
            progress(done, len(doubtful))
    return Plan(
        added=tuple(sorted(added)),
        changed=tuple(sorted(changed)),
        removed=tuple(sorted(path for path in gone if path not in taken)),
        renamed=renamed,
        retitled=frozenset(retitled),
        retried=tuple(sorted(retried)),
        touched=tuple(touched),
        skipped=found.skipped,
        unchanged=unchanged,
        files=files,
    )


def modified_to_keep(modified: int, looked: int) -> int:
    """The time of a file for the manifest; 0 if it may change once more without getting another time.

    Clocks of file systems tick slowly: a file written in this very moment may be written again within the same tick.
    The next sync then looks at its bytes instead of its time.

    Args:
        modified: of the file, in nanoseconds since 1970.
        looked: when its bytes began to be read, likewise.
    """
    return modified if modified < looked - _SETTLED else 0


def in_words(seconds: float) -> str:
    """ "4 s", "3 min", "2 h 5 min"."""
    if seconds < 100:
        return f"{max(1, round(seconds)) if seconds else 0} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _digest(file: FoundFile) -> str:
    try:
        return reading.digest_of(file.file)
    except DataError:  # the reader will meet it again, and say so
        return ""


def _same_bytes(
    manifest: Mapping[str, DocumentRecord], candidates: list[str], taken: set[str], digest: str, path: str
) -> str | None:
    """The document that is gone and had these bytes; one of the same file name if there are several."""
    same = [old for old in candidates if old not in taken and digest and manifest[old].digest == digest]
    name = PurePosixPath(path).name
    return min(same, key=lambda old: (PurePosixPath(old).name != name, old), default=None)


def _may_keep_its_chunks(record: DocumentRecord, path: str) -> bool:
    """Whether the document would be read and chunked as before under its new path.

    The title stands in every chunk. Where the file's name may have served as the title, another name is another title.
    """
    if type_of(record.path) != type_of(path):
        return False
    return _names(path) == _names(record.path) or record.title not in _names(record.path)


def _names(path: str) -> set[str]:
    return {PurePosixPath(path).name, PurePosixPath(path).stem}


def _moved(record: DocumentRecord, file: FoundFile, modified: int) -> DocumentRecord:
    metadata = {**record.metadata, "folder": file.path.partition("/")[0] if "/" in file.path else ""}
    return replace(record, path=file.path, size=file.size, modified=modified, metadata=metadata)
