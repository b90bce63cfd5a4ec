"""An append-only JSON Lines journal: one writer, killed at any instant, nothing lost but a torn last line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from whetstone.errors import StorageError
from whetstone.storage.files import storage_error


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line, in order. A torn last line is passed over; a broken line elsewhere is an error.

    Raises:
        StorageError: the file cannot be read, or a line before the last is not JSON.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return  # torn by a kill; the writer cuts it off before it appends again
                try:
                    yield json.loads(line)
                except ValueError:
                    raise StorageError(
                        f"{path}, line {number}: not JSON; the journal was damaged from outside; delete that line"
                    ) from None
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(path, error) from error


class JournalWriter:
    """The one writer of a journal; holds a lock beside it while open.

    Every `append` reaches the operating system before it returns, so `kill -9` loses nothing that was appended. `close`
    also forces it to the disk.

    Raises:
        StorageError: another process writes this journal, or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(f"{path}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StorageError(f"{path} is being written by another process; wait for it, or stop it") from None
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            self._file = open(path, "ab")  # noqa: SIM115 - closed in close()
            self._cut_torn_line()
        except OSError as error:
            self._lock.release()
            raise storage_error(path, error) from error

    def _cut_torn_line(self) -> None:
        size = self._file.tell()
        if size == 0:
            return
        with open(self.path, "rb") as reader:
            position = size
            while position > 0:
                step = min(65536, position)
                reader.seek(position - step)
                newline = reader.read(step).rfind(b"\n")
                if newline >= 0:
                    position = position - step + newline + 1
                    break
                position -= step
        if position < size:
            self._file.truncate(position)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry.

        Raises:
            StorageError: the disk is full. Entries before this one are kept.
        """
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise storage_error(self.path, error) from error

    def close(self) -> None:
        """Force everything to the disk and let the lock go."""
        if self._file.closed:
            return
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise storage_error(self.path, error) from error
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
