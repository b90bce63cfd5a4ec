"""One sync of a file at a time, over all processes of the machine; the lock is given back when its process dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from whetstone.errors import UsageError
from whetstone.storage.files import storage_error, write_atomically
from whetstone.storage.process import Process, this_process


@contextmanager
def syncing(file: Path, wait: float) -> Iterator[None]:
    """Hold the lock beside a knowledge base's file.

    Raises:
        UsageError: another process, or another thread, holds it and did not let go within `wait` seconds.
    """
    lock, holder = lock_files(file)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock).acquire(timeout=max(0.0, wait), poll_interval=0.05)
    except Timeout:
        raise UsageError(
            f"{file} is being synced by {_holder(holder)}: wait until it is done, or stop it (what was there before"
            " is kept)"
        ) from None
    except OSError as error:
        raise storage_error(lock, error) from error
    with held:
        # Not in the locked file itself, which Windows lets nobody else read.
        write_atomically(holder, str(this_process()))
        try:
            yield
        finally:
            with suppress(OSError):
                holder.unlink()


def lock_files(file: Path) -> tuple[Path, Path]:
    """The file that is locked, which stays, and the one that says who holds the lock."""
    return Path(f"{file}-lock"), Path(f"{file}-holder")


def _holder(file: Path) -> str:
    try:
        return f"process {Process.parse(file.read_text(encoding='utf-8')).pid}"
    except (OSError, ValueError):  # it has just got the lock, or just let go
        return "another process"
