"""Text files opened for reading: gzip, encodings, byte order marks, progress; and a sentence for each way to fail.

`open_text` also translates what goes wrong while the file is being read inside its `with` block.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from whetstone.errors import DataError, UsageError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_KNOWN = "CSV, TSV, JSON, JSONL (each also with .gz) and Parquet"

# The first bytes of files that are often given a wrong name.
_SIGNATURES = {
    b"PAR1": ("Parquet", ".parquet"),
    b"\x1f\x8b": ("gzip-compressed data", ".gz at the end"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", ".csv after saving it as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", ".csv after saving it as CSV"),
    b"\x28\xb5\x2f\xfd": ("Zstandard-compressed data", ".gz after packing it with gzip"),
    b"BZh": ("bzip2-compressed data", ".gz after packing it with gzip"),
    b"SQLite format 3": ("an SQLite database", ".csv after exporting the table"),
    b"ARROW1": ("an Arrow file", ".parquet after saving it as Parquet"),
    b"%PDF": ("a PDF document", ".csv after copying the table out of it"),
}


@dataclass(frozen=True)
class FileKind:
    """What a file name says: `format` is csv, tsv, json, jsonl or parquet; `compressed` means gzip."""

    format: str
    compressed: bool


def file_kind(path: Path, format: str | None = None) -> FileKind:
    """The kind of a data file by its name, or by `format` where the name says nothing; its first bytes must not object.

    Raises:
        DataError: missing, a folder, empty, an unknown extension, or something else than its name says.
    """
    compressed = path.suffix.lower() == ".gz"
    suffix = Path(path.stem).suffix.lower() if compressed else path.suffix.lower()
    known = format or FORMATS.get(suffix)
    if known is None:
        raise DataError(
            f"{path}: the extension {suffix or '(none)'} says nothing; readable are {_KNOWN}; "
            "rename the file, or say the format"
        )
    if known not in FORMATS.values():
        raise UsageError(f"There is no format named {known!r}; readable are {_KNOWN}")
    if known == "parquet" and compressed:
        raise DataError(f"{path}: Parquet is compressed inside; unpack it with gunzip")
    kind = FileKind(known, compressed)
    _check_first_bytes(path, kind)
    return kind


def _check_first_bytes(path: Path, kind: FileKind) -> None:
    try:
        with open(path, "rb") as raw:
            head = raw.read(16)
    except OSError as error:
        raise _cannot_read(path, error) from error
    if not head:
        raise DataError(f"{path} is empty; it needs a header or fields, and one row per case")
    if kind.compressed:
        if not head.startswith(b"\x1f\x8b"):
            raise DataError(f"{path} is not gzip-compressed, whatever its name says; take .gz off the name")
        with _translated(path), gzip.open(path, "rb") as unpacked:
            head = unpacked.read(16)
    for signature, (what, name) in _SIGNATURES.items():
        if head.startswith(signature) and not (what == "Parquet" and kind.format == "parquet"):
            raise DataError(f"{path} holds {what}, not {kind.format.upper()}; name it {name}")
    if kind.format == "parquet" and not head.startswith(b"PAR1"):
        raise DataError(f"{path} is no Parquet file (it does not begin with PAR1); check what wrote it")


@contextmanager
def open_text(
    path: Path,
    kind: FileKind,
    *,
    newline: str,
    encoding: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[io.TextIOWrapper]:
    """The file as text, decoded and unpacked as it is read; nothing is held but a buffer.

    Args:
        path: the file.
        kind: what `file_kind` said.
        newline: as for `open`.
        encoding: its encoding; UTF-8 (with or without a byte order mark) when None.
        progress: told the share of the file that has been read, 0 to 1, about every 8 MB.

    Raises:
        DataError: it cannot be read, is cut off, or is not in that encoding (with the byte at fault).
        UsageError: no such encoding.
    """
    try:
        codec = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        raise UsageError(
            f"There is no encoding named {encoding!r}; common are utf-8, cp1252, latin-1, utf-16"
        ) from None
    with open_bytes(path, kind, progress=progress) as binary:
        wrapper = io.TextIOWrapper(binary, encoding="utf-8-sig" if codec == "utf-8" else codec, newline=newline)
        try:
            yield wrapper
        except UnicodeDecodeError:
            raise _encoding_error(path, kind, codec) from None


@contextmanager
def open_bytes(path: Path, kind: FileKind, *, progress: Callable[[float], None] | None = None) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked as they are read; the arguments are those of `open_text`.

    Raises:
        DataError: it cannot be read, or is cut off.
    """
    with _translated(path), open(path, "rb") as raw:
        counted = cast(BinaryIO, io.BufferedReader(_Counted(raw, path.stat().st_size, progress), 1 << 20))
        yield cast(BinaryIO, gzip.GzipFile(fileobj=counted)) if kind.compressed else counted


class _Counted(io.RawIOBase):
    """A raw file that tells how far it has been read."""

    _EVERY = 8 << 20

    def __init__(self, raw: BinaryIO, size: int, progress: Callable[[float], None] | None) -> None:
        self._raw, self._size, self._progress = raw, max(size, 1), progress
        self._done = self._told = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base names a wider type
        count = cast(int, self._raw.readinto(buffer))  # type: ignore[attr-defined]  # a buffered file has it
        self._done += count
        if self._progress is not None and (self._done - self._told >= self._EVERY or count == 0):
            self._told = self._done
            self._progress(min(1.0, self._done / self._size))
        return count


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError as error:
        raise DataError(f"{path} ends in the middle of its gzip data; fetch or pack it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip data is damaged ({error}); fetch or pack it again") from error
    except OSError as error:
        raise _cannot_read(path, error) from error


def _cannot_read(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"There is no file {path}; check the name and the folder")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path} is a folder, not a file; name a file in it")
    return DataError(f"{path} cannot be read: {error.strerror or error}")


def _encoding_error(path: Path, kind: FileKind, codec: str) -> DataError:
    """The sentence for bytes that are not in `codec`: which byte, on which line, and an encoding in which they read."""
    decoder = codecs.getincrementaldecoder(codec)()
    before = lines = 0
    with open(path, "rb") as raw:
        binary = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if kind.compressed else raw
        while True:
            chunk = binary.read(1 << 20)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                whole = error.object
                offset = before - pending + error.start
                line = lines + whole[: error.start].count(b"\n") + 1
                found = f"byte {offset:,} (line {line:,}) is 0x{whole[error.start]:02X}"
                return DataError(f"{path} is not {codec}: {found}; {_advice(whole, error.start, codec)}")
            before += len(chunk)
            lines += chunk.count(b"\n")


def _advice(data: bytes, position: int, codec: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:400].count(0) > 100:
        return "it looks like utf-16: say encoding utf-16, or save the file as UTF-8"
    if codec != "utf-8":
        return "leave the encoding out if the file is UTF-8, or name the right one"
    near = data[max(0, position - 12) : position + 12]
    # cp1252 leaves five bytes undefined; where one of them occurs the file is more likely latin-1.
    fits = "latin-1" if any(byte in data for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)) else "cp1252"
    reads = " ".join(near.decode(fits, errors="replace").split())
    return f"as {fits} it reads “{reads}”: say encoding {fits} if that is right, or save the file as UTF-8"
