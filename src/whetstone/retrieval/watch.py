"""Follows a folder: a sync whenever something in it changed and came to rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from whetstone.errors import DataError, WhetstoneError
from whetstone.retrieval.sync import SyncResult

__all__ = ["follow"]

_QUIET = 300  # ms without a change before a sync: an editor or a copy is done by then
_AT_MOST = 3_000  # ms to gather changes in a folder that never rests
_LOOK_UP = 500  # ms between looks at the clock
_RETRY = 15.0  # seconds until something that failed is tried again without a change


def follow(
    folder: Path,
    run: Callable[[], SyncResult],
    failed: Callable[[WhetstoneError], None],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[SyncResult]:
    """Sync at once, and then after every change, until `stopped()` or Ctrl-C.

    The folder is watched before the first sync begins, so that no change falls between the two.

    Args:
        folder: to watch, with all folders in it.
        run: does a sync.
        failed: told about a sync that failed; the next change, or a quarter of a minute, brings the next one.
        stopped: asked twice a second.

    Yields:
        What each sync did, whether it changed anything or not.

    Raises:
        DataError: the folder is not there any more, or cannot be watched.
    """
    from watchfiles import watch

    logging.getLogger("watchfiles").setLevel(logging.ERROR)
    again: float | None = time.monotonic()  # when to sync without a change
    try:
        for changes in watch(
            folder,
            watch_filter=None,
            debounce=_AT_MOST,
            step=_QUIET,
            rust_timeout=_LOOK_UP,
            yield_on_timeout=True,
            raise_interrupt=True,
            ignore_permission_denied=True,
        ):
            if stopped():
                return
            if not changes and (again is None or time.monotonic() < again):
                continue
            if not folder.is_dir():
                raise DataError(f"There is no folder {folder} any more: nothing to follow")
            try:
                result = run()
            except WhetstoneError as error:
                failed(error)
                again = time.monotonic() + _RETRY
                continue
            again = time.monotonic() + _RETRY if _unsettled(result) else None
            yield result
    except OSError as error:
        raise DataError(f"{folder} cannot be watched: {error.strerror or error}") from error


def _unsettled(result: SyncResult) -> bool:
    """Whether a document could not be read for a reason that may pass, such as being written just then."""
    return any(change.kind == "unreadable" for change in result.changes)
