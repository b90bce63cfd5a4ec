"""Files that are never half written."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from whetstone.errors import StorageError


def storage_error(path: Path, error: OSError) -> StorageError:
    """The sentence for a file of ours that could not be written or read."""
    return StorageError(f"{path}: {error.strerror or error}; what was written before is kept")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename: readers see the old file or the new one.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    # Not `tempfile`: its files can be read by nobody else, and reports are made to be shared.
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise storage_error(path, error) from error
