"""A file opened for reading: what was read of it, and whether it stayed the same meanwhile."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from whetstone.errors import DataError

_PIECE = 1 << 20
_HELD = 8 << 20
"""Files up to this size are read at once, in bytes."""


class ChangedWhileReadError(DataError):
    """A file changed while it was read; what was read of it must not be used. Read it again when it is at rest."""


class Source:
    """An open file whose bytes are hashed as they are read.

    Args:
        file: where it is.
        path: what messages call it.

    Raises:
        DataError: it cannot be opened, or is no regular file.
    """

    def __init__(self, file: Path, path: str) -> None:
        self.file, self.path = file, path
        try:
            # Opening a pipe that nobody writes to would wait for ever.
            descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise cannot_read(path, error) from error
        self._raw = io.FileIO(descriptor)
        self._before = os.fstat(descriptor)
        if not stat.S_ISREG(self._before.st_mode):
            self._raw.close()
            raise DataError(f"{path} is no file to read (a folder, device, pipe or socket)")
        self.size = self._before.st_size
        self._hash = hashlib.sha256()
        self._digest = ""

    def is_small(self) -> bool:
        """Whether it may be held in memory."""
        return self.size <= _HELD

    def rewind(self) -> BinaryIO:
        """Its bytes from the start, hashed as they are read; buffered."""
        self._raw.seek(0)
        self._hash = hashlib.sha256()
        return io.BufferedReader(_Hashed(self._raw, self._hash, self.path), _PIECE)

    def all_bytes(self) -> bytes:
        """Everything at once; the file is finished with."""
        data = self.rewind().read()
        self.finish()
        return data

    def finish(self) -> None:
        """Say that the last byte was read.

        Raises:
            ChangedWhileReadError: the file is not what it was when it was opened.
        """
        try:
            after, named = os.fstat(self._raw.fileno()), os.stat(self.file, follow_symlinks=False)
        except OSError as error:
            raise ChangedWhileReadError(f"{self.path} disappeared while it was read") from error
        finally:
            self._raw.close()
        if not _identity(self._before) == _identity(after) == _identity(named):
            raise ChangedWhileReadError(f"{self.path} changed while it was read; read it again when it is at rest")
        self._digest = self._hash.hexdigest()

    @property
    def digest(self) -> str:
        """sha256 of the bytes that were read, in hex; "" before `finish`."""
        return self._digest


def digest_of(file: Path, path: str = "") -> str:
    """sha256 of a file's bytes, in hex.

    Raises:
        DataError: it cannot be read.
        ChangedWhileReadError: it changed meanwhile.
    """
    source = Source(file, path or str(file))
    reader = source.rewind()
    while reader.read(_PIECE):
        pass
    source.finish()
    return source.digest


def cannot_read(path: str, error: OSError) -> DataError:
    """The sentence for a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"There is no file {path} any more")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: there is no permission to read it")
    return DataError(f"{path} cannot be read: {error.strerror or error}")


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class _Hashed(io.RawIOBase):
    def __init__(self, raw: io.FileIO, digest: hashlib._Hash, path: str) -> None:
        self._file, self._hash, self._path = raw, digest, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base names a wider type
        try:
            count = self._file.readinto(buffer)
        except OSError as error:
            raise cannot_read(self._path, error) from error
        self._hash.update(buffer[:count])
        return count
