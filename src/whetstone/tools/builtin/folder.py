"""Files of one folder, opened so that nothing outside it can be reached.

Every part of a path is opened below the one before it, and never through a link: neither ".." nor a symbolic link leads
out, also not one that is put there between looking and opening. Hidden files are left alone: they hold keys and
histories more often than knowledge.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from whetstone.errors import UsageError

MOST_BYTES = 5_000_000
"""Of a file that is read."""
MOST_FILES = 20_000
"""That are looked at."""


class Folder:
    """A folder whose files may be read.

    Args:
        path: where it is.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser().resolve()
        if not path.strip() or not self.path.is_dir():
            raise UsageError(f"files: {path!r} is no folder: write files:FOLDER, for example files:./notes")

    def names(self) -> Iterator[str]:
        """The files, as paths relative to the folder with "/" between their parts, in order; at most `MOST_FILES`."""
        found = 0
        for folder, folders, files in os.walk(self.path, followlinks=False):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if name.startswith(".") or os.path.islink(os.path.join(folder, name)):
                    continue
                found += 1
                if found > MOST_FILES:
                    return
                yield Path(folder, name).relative_to(self.path).as_posix()

    def read(self, name: str) -> str:
        """The text of a file.

        Raises:
            UsageError: there is no such file in the folder, or it is no text, or too large.
        """
        parts = name.replace("\\", "/").strip().removeprefix("./").split("/")
        if any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts):
            raise UsageError(
                f"{name[:120]!r} is no file of this folder: give a path below it, as it stands in a list of files"
            )
        try:
            descriptor = self._open(parts)
        except OSError as error:
            raise UsageError(f"{name[:120]!r} cannot be read: {_reason(error)}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise UsageError(f"{name[:120]!r} is no file")
        with os.fdopen(descriptor, "rb") as file:
            if status.st_size > MOST_BYTES:
                raise UsageError(f"{name[:120]!r} has {status.st_size:,} bytes; at most {MOST_BYTES:,} are read")
            data = file.read(MOST_BYTES + 1)
        if b"\0" in data[:100_000]:
            raise UsageError(f"{name[:120]!r} is no text")
        return data.decode("utf-8-sig", "replace")

    def _open(self, parts: list[str]) -> int:
        """A descriptor of the file; no part of the path is a link. A device or a pipe is not waited for."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        at = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                below = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
                os.close(at)
                at = below
            return os.open(parts[-1], flags, dir_fd=at)
        finally:
            os.close(at)


def _reason(error: OSError) -> str:
    import errno

    if error.errno in (errno.ELOOP, errno.EMLINK):
        return "it is a link, and links are not followed"
    return (error.strerror or str(error)).lower()
